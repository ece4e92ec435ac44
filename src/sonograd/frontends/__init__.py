"""Time-frequency layers: exact, trainable, and invertible where their bins allow it."""

from sonograd.frontends.base import FrontEnd, present
from sonograd.frontends.cepstral import MFCC, CombinedFrequencyPeriodicity
from sonograd.frontends.gammatone import GammatoneFilterbank, GammatoneSpectrogram
from sonograd.frontends.mel import MelSpectrogram
from sonograd.frontends.stft import STFT

__all__ = [
    "MFCC",
    "STFT",
    "CombinedFrequencyPeriodicity",
    "FrontEnd",
    "GammatoneFilterbank",
    "GammatoneSpectrogram",
    "MelSpectrogram",
    "present",
]
