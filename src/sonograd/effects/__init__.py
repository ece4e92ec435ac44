"""Differentiable audio processors: exact, streaming, with values in human units."""

from sonograd.effects.base import Effect, State, Value, Values, effect_types
from sonograd.effects.delay import Delay, MultitapDelay, PingPongDelay
from sonograd.effects.drive import (
    AsymmetricClip,
    BitCrush,
    Clipping,
    CubicClip,
    Distortion,
    RateReduction,
    SoftClip,
    WaveFolder,
)
from sonograd.effects.graph import Graph
from sonograd.effects.learnable import Learnable
from sonograd.effects.level import (
    ChannelDelay,
    DCBlocker,
    Gain,
    LinearGain,
    MidSideDecode,
    MidSideEncode,
    Pan,
    Width,
)
from sonograd.effects.modulation import (
    AutoPan,
    Chorus,
    Flanger,
    Phaser,
    RingModulation,
    Tremolo,
    Vibrato,
)
from sonograd.effects.presets import (
    from_preset,
    preset,
    preset_names,
    read_preset,
    write_preset,
)
from sonograd.effects.structure import Bypass, Chain, Mix, Parallel, Send, Structure
from sonograd.params import Curve, Param

__all__ = [
    "AsymmetricClip",
    "AutoPan",
    "BitCrush",
    "Bypass",
    "Chain",
    "ChannelDelay",
    "Chorus",
    "Clipping",
    "CubicClip",
    "Curve",
    "DCBlocker",
    "Delay",
    "Distortion",
    "Effect",
    "Flanger",
    "Gain",
    "Graph",
    "Learnable",
    "LinearGain",
    "MidSideDecode",
    "MidSideEncode",
    "Mix",
    "MultitapDelay",
    "Pan",
    "Parallel",
    "Param",
    "Phaser",
    "PingPongDelay",
    "RateReduction",
    "RingModulation",
    "Send",
    "SoftClip",
    "State",
    "Structure",
    "Tremolo",
    "Value",
    "Values",
    "Vibrato",
    "WaveFolder",
    "Width",
    "effect_types",
    "from_preset",
    "preset",
    "preset_names",
    "read_preset",
    "write_preset",
]
