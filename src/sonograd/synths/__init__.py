"""Instruments that can be differentiated: their values are found from sound by gradient."""

from sonograd.synths.additive import Harmonic
from sonograd.synths.base import Synth, SynthState, synth_types
from sonograd.synths.controls import Controls
from sonograd.synths.envelope import Envelope
from sonograd.synths.fm import ALGORITHMS, FM
from sonograd.synths.modal import MODES, Modal
from sonograd.synths.noise import FilteredNoise
from sonograd.synths.notes import Note, render_notes
from sonograd.synths.oscillator import Oscillator
from sonograd.synths.plucked import KarplusStrong
from sonograd.synths.voice import SourceFilter
from sonograd.synths.wavetable import Wavetable

__all__ = [
    "ALGORITHMS",
    "FM",
    "MODES",
    "Controls",
    "Envelope",
    "FilteredNoise",
    "Harmonic",
    "KarplusStrong",
    "Modal",
    "Note",
    "Oscillator",
    "SourceFilter",
    "Synth",
    "SynthState",
    "Wavetable",
    "render_notes",
    "synth_types",
]
