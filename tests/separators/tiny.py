"""A tiny instance of every separator, for the conformance suite: one line per class."""

from collections.abc import Callable
from typing import Any

from sonograd.config import (
    SCNetConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
    TFCTDFUNetConfig,
)
from sonograd.separators import (
    CenterExtraction,
    HarmonicPercussive,
    RepetitionExtraction,
    SCNet,
    SelectStems,
    Separator,
    SpectrogramNetLSTM,
    SpectrogramNetSimple,
    SpectrogramNetVAE,
    TFCTDFUNet,
)

_SPECTROGRAM_NET: dict[str, Any] = {
    "targets": ("vocals", "drums"),
    "num_channels": 2,
    "num_hidden_channels": 2,
    "sample_rate": 8000,
    "sample_length": 0.1,
    "num_fft": 128,
    "window_size": 128,
    "hop_length": 32,
}
_RECURRENT: dict[str, Any] = {**_SPECTROGRAM_NET, "hidden_size": 8, "recurrent_depth": 1}

#: Builders of small, untrained separators that run in milliseconds.
TINY: dict[type[Separator], Callable[[], Separator]] = {
    CenterExtraction: lambda: CenterExtraction(sample_rate=1000, channels=2),
    HarmonicPercussive: lambda: HarmonicPercussive(sample_rate=1000, channels=2),
    RepetitionExtraction: lambda: RepetitionExtraction(sample_rate=1000, channels=2),
    SCNet: lambda: SCNet(
        SCNetConfig(
            targets=("vocals", "drums"),
            sample_rate=8000,
            sample_length=0.1,
            widths=(8, 12),
            num_fft=128,
            hop_length=32,
            num_dual_path=2,
            masked=True,
        )
    ),
    SelectStems: lambda: SelectStems(
        HarmonicPercussive(sample_rate=1000, channels=2), ["percussive"]
    ),
    SpectrogramNetLSTM: lambda: SpectrogramNetLSTM(SpectrogramNetLSTMConfig(**_RECURRENT)),
    SpectrogramNetSimple: lambda: SpectrogramNetSimple(
        SpectrogramNetSimpleConfig(**_SPECTROGRAM_NET)
    ),
    SpectrogramNetVAE: lambda: SpectrogramNetVAE(SpectrogramNetVAEConfig(**_RECURRENT)),
    TFCTDFUNet: lambda: TFCTDFUNet(
        TFCTDFUNetConfig(
            num_hidden_channels=2,
            num_levels=2,
            sample_length=0.2,
            sample_rate=1000,
            num_fft=128,
            hop_length=32,
            full_resolution_hz=100,
        )
    ),
}
