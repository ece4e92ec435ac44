"""Models that take a mix apart, and the machinery that runs them on audio of any length."""

from sonograd.separators.band_split_roformer import BandSplitRoFormer
from sonograd.separators.base import MaskEstimate, Separator
from sonograd.separators.build import build_separator
from sonograd.separators.checkpoint import (
    CheckpointInfo,
    load_separator,
    read_checkpoint_info,
    save_separator,
)
from sonograd.separators.chunking import Chunker, ChunkPlan, OverlapAdd
from sonograd.separators.classical import (
    CenterExtraction,
    HarmonicPercussive,
    RepetitionExtraction,
)
from sonograd.separators.conv_tasnet import ConvTasNet
from sonograd.separators.default import TFCTDFUNet
from sonograd.separators.demucs import Demucs
from sonograd.separators.ensemble import Ensemble, TimeShifts, Transformed, augmented, draw_shifts
from sonograd.separators.export import Core, export_core
from sonograd.separators.htdemucs import HTDemucs
from sonograd.separators.hybrid_demucs import HybridDemucs
from sonograd.separators.mel_band_roformer import MelBandRoFormer
from sonograd.separators.open_unmix import OpenUnmix
from sonograd.separators.scnet import SCNet
from sonograd.separators.select import SelectStems
from sonograd.separators.stream import Lane, SeparatorStream
from sonograd.separators.survey import Blocks, Survey
from sonograd.separators.unet import SpectrogramNetLSTM, SpectrogramNetSimple, SpectrogramNetVAE

__all__ = [
    "BandSplitRoFormer",
    "Blocks",
    "CenterExtraction",
    "CheckpointInfo",
    "ChunkPlan",
    "Chunker",
    "ConvTasNet",
    "Core",
    "Demucs",
    "Ensemble",
    "HTDemucs",
    "HarmonicPercussive",
    "HybridDemucs",
    "Lane",
    "MaskEstimate",
    "MelBandRoFormer",
    "OpenUnmix",
    "OverlapAdd",
    "RepetitionExtraction",
    "SCNet",
    "SelectStems",
    "Separator",
    "SeparatorStream",
    "SpectrogramNetLSTM",
    "SpectrogramNetSimple",
    "SpectrogramNetVAE",
    "Survey",
    "TFCTDFUNet",
    "TimeShifts",
    "Transformed",
    "augmented",
    "build_separator",
    "draw_shifts",
    "export_core",
    "load_separator",
    "read_checkpoint_info",
    "save_separator",
]
