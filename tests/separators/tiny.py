"""A tiny instance of every separator, for the conformance suite: one line per class."""

from collections.abc import Callable
from typing import Any

from sonograd.config import (
    BandSplitRoFormerConfig,
    ConvTasNetConfig,
    DemucsConfig,
    HTDemucsConfig,
    HybridDemucsConfig,
    MelBandRoFormerConfig,
    OpenUnmixConfig,
    SCNetConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
    TFCTDFUNetConfig,
)
from sonograd.separators import (
    BandSplitRoFormer,
    CenterExtraction,
    ConvTasNet,
    Demucs,
    Ensemble,
    HarmonicPercussive,
    HTDemucs,
    HybridDemucs,
    MelBandRoFormer,
    OpenUnmix,
    RepetitionExtraction,
    SCNet,
    SelectStems,
    Separator,
    SpectrogramNetLSTM,
    SpectrogramNetSimple,
    SpectrogramNetVAE,
    TFCTDFUNet,
    TimeShifts,
    Transformed,
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

_DEMUCS: dict[str, Any] = {
    "targets": ("vocals", "drums"),
    "num_hidden_channels": 4,
    "sample_rate": 1000,
    "sample_length": 0.4,
}

_ROFORMER: dict[str, Any] = {
    "targets": ("vocals", "drums"),
    "sample_rate": 8000,
    "sample_length": 0.1,
    "num_fft": 128,
    "hop_length": 32,
    "width": 8,
    "depth": 2,
    "linear_depth": 1,
    "num_heads": 2,
    "head_width": 4,
    "mask_expansion": 2,
    "skip_connection": True,
}

#: Builders of small, untrained separators that run in milliseconds.
TINY: dict[type[Separator], Callable[[], Separator]] = {
    ConvTasNet: lambda: ConvTasNet(
        ConvTasNetConfig(
            sample_rate=1000,
            sample_length=0.4,
            num_filters=6,
            bottleneck_channels=4,
            hidden_channels=6,
            skip_channels=3,
            num_blocks=2,
            num_repeats=1,
        )
    ),
    Demucs: lambda: Demucs(
        DemucsConfig(
            **_DEMUCS,
            depth=2,
            norm_starts=1,
            norm_groups=2,
            branch_attention_starts=1,
            branch_lstm_starts=1,
            branch_compression=1,
        )
    ),
    Ensemble: lambda: Ensemble(
        [
            HarmonicPercussive(sample_rate=1000, channels=2),
            SelectStems(
                HarmonicPercussive(sample_rate=1000, channels=2), ["percussive", "harmonic"]
            ),
        ],
        [1.0, 3.0],
    ),
    TimeShifts: lambda: TimeShifts(HarmonicPercussive(sample_rate=1000, channels=2), [0, 333]),
    Transformed: lambda: Transformed(
        CenterExtraction(sample_rate=1000, channels=2), swap_channels=True, invert=True
    ),
    HTDemucs: lambda: HTDemucs(
        HTDemucsConfig(
            **_DEMUCS,
            num_fft=256,
            depth=2,
            bottom_channels=8,
            transformer_layers=2,
            transformer_heads=2,
            branch_compression=2,
        )
    ),
    HybridDemucs: lambda: HybridDemucs(
        HybridDemucsConfig(
            **_DEMUCS,
            num_fft=64,
            depth=3,
            branch_attention_starts=2,
            branch_lstm_starts=2,
            branch_compression=1,
        )
    ),
    OpenUnmix: lambda: OpenUnmix(
        OpenUnmixConfig(
            targets=("vocals", "drums"),
            residual_target="rest",
            sample_rate=1000,
            sample_length=0.4,
            num_fft=64,
            hop_length=16,
            max_bin=20,
            hidden_size=8,
            recurrent_depth=2,
            wiener_frames=10,
        )
    ),
    BandSplitRoFormer: lambda: BandSplitRoFormer(
        BandSplitRoFormerConfig(**_ROFORMER, bins_per_band=(1, 2, 2, 4, 8, 16, 32))
    ),
    CenterExtraction: lambda: CenterExtraction(sample_rate=1000, channels=2),
    HarmonicPercussive: lambda: HarmonicPercussive(sample_rate=1000, channels=2),
    MelBandRoFormer: lambda: MelBandRoFormer(MelBandRoFormerConfig(**_ROFORMER, num_bands=10)),
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
