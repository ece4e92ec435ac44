"""Time-frequency layers: exact, trainable, and invertible where their bins allow it."""

from sonograd.frontends.base import FrontEnd, present
from sonograd.frontends.cepstral import MFCC, CombinedFrequencyPeriodicity
from sonograd.frontends.compression import PCEN, LogCompression
from sonograd.frontends.constant_q import ConstantQ, VariableQ
from sonograd.frontends.export import exportable
from sonograd.frontends.gabor_streams import AnalysisStream, SynthesisStream
from sonograd.frontends.gammatone import GammatoneFilterbank, GammatoneSpectrogram
from sonograd.frontends.griffin_lim import GriffinLim
from sonograd.frontends.harmony import Chroma, HarmonicPercussive
from sonograd.frontends.invertible import InvertibleConstantQ
from sonograd.frontends.learned import LearnedDecoder, LearnedFilterbank
from sonograd.frontends.mel import MelSpectrogram
from sonograd.frontends.stft import STFT

__all__ = [
    "MFCC",
    "PCEN",
    "STFT",
    "AnalysisStream",
    "Chroma",
    "CombinedFrequencyPeriodicity",
    "ConstantQ",
    "FrontEnd",
    "GammatoneFilterbank",
    "GammatoneSpectrogram",
    "GriffinLim",
    "HarmonicPercussive",
    "InvertibleConstantQ",
    "LearnedDecoder",
    "LearnedFilterbank",
    "LogCompression",
    "MelSpectrogram",
    "SynthesisStream",
    "VariableQ",
    "exportable",
    "present",
]
