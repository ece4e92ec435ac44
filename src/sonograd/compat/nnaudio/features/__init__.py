"""``nnAudio.features``: every layer, and the helper functions that come with them."""

from sonograd.compat.nnaudio import utils
from sonograd.compat.nnaudio.features.cfp import CFP, Combined_Frequency_Periodicity
from sonograd.compat.nnaudio.features.cqt import CQT, CQT1992, CQT2010, CQT1992v2, CQT2010v2
from sonograd.compat.nnaudio.features.gammatone import Gammatonegram
from sonograd.compat.nnaudio.features.griffin_lim import Griffin_Lim
from sonograd.compat.nnaudio.features.mel import MFCC, MelSpectrogram
from sonograd.compat.nnaudio.features.stft import STFT, STFTBase, iSTFT
from sonograd.compat.nnaudio.features.vqt import VQT
from sonograd.compat.nnaudio.utils import *  # noqa: F403 - nnAudio has its helpers here, too

__all__ = [  # noqa: PLE0604 - the names of another module are strings
    "CFP",
    "CQT",
    "CQT1992",
    "CQT2010",
    "MFCC",
    "STFT",
    "VQT",
    "CQT1992v2",
    "CQT2010v2",
    "Combined_Frequency_Periodicity",
    "Gammatonegram",
    "Griffin_Lim",
    "MelSpectrogram",
    "STFTBase",
    "iSTFT",
    *utils.__all__,
]
