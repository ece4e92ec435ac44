"""The layers of the first release of nnAudio."""  # noqa: N999 - nnAudio's name

from sonograd.compat.nnaudio import features
from sonograd.compat.nnaudio._windows import Window
from sonograd.functional.framing import PadMode

__all__ = ["STFT", "CQT1992v2", "CQT2010v2", "MelSpectrogram"]


class STFT(features.STFT):
    """Magnitudes of a short-time Fourier transform, ``(batch, freq_bins, frames)``."""

    def __init__(
        self,
        n_fft: int = 2048,
        freq_bins: int | None = None,
        hop_length: int = 512,
        window: Window = "hann",
        freq_scale: str = "no",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable: bool = False,
    ) -> None:
        """Build the layer; see :class:`sonograd.compat.nnaudio.features.STFT`."""
        super().__init__(
            n_fft=n_fft, freq_bins=freq_bins, hop_length=hop_length, window=window,
            freq_scale=freq_scale, center=center, pad_mode=pad_mode, fmin=fmin, fmax=fmax, sr=sr,
            trainable=trainable, output_format="Magnitude",
        )  # fmt: skip


class MelSpectrogram(features.MelSpectrogram):
    """Powers in mel bands, ``(batch, n_mels, frames)``."""

    def __init__(
        self,
        sr: float = 22050,
        n_fft: int = 2048,
        n_mels: int = 128,
        hop_length: int = 512,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        htk: bool = False,
        fmin: float = 0.0,
        fmax: float | None = None,
        norm: float | None = 1,
        trainable_mel: bool = False,
        trainable_STFT: bool = False,  # noqa: N803 - of the signature
    ) -> None:
        """Build the layer; see :class:`sonograd.compat.nnaudio.features.MelSpectrogram`."""
        super().__init__(
            sr=sr, n_fft=n_fft, n_mels=n_mels, hop_length=hop_length, window=window,
            center=center, pad_mode=pad_mode, htk=htk, fmin=fmin, fmax=fmax, norm=norm,
            trainable_mel=trainable_mel, trainable_STFT=trainable_STFT,
        )  # fmt: skip


class CQT1992v2(features.CQT1992v2):
    """Magnitudes of a constant-Q transform, ``(batch, n_bins, frames)``.

    84 bins from 220 Hz, the defaults, reach 26.6 kHz: they need a rate above 53.2 kHz, or fewer
    bins.
    """

    def __init__(
        self,
        sr: float = 22050,
        hop_length: int = 512,
        fmin: float = 220,
        fmax: float | None = None,
        n_bins: int | None = 84,
        bins_per_octave: int = 12,
        norm: float | None = 1,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
    ) -> None:
        """Build the layer; see :class:`sonograd.compat.nnaudio.features.CQT1992v2`."""
        super().__init__(
            sr=sr, hop_length=hop_length, fmin=fmin, fmax=fmax, n_bins=n_bins,
            bins_per_octave=bins_per_octave, norm=norm, window=window, center=center,
            pad_mode=pad_mode,
        )  # fmt: skip


class CQT2010v2(features.CQT2010v2):
    """Magnitudes of a constant-Q transform, ``(batch, n_bins, frames)``; see CQT1992v2."""

    def __init__(
        self,
        sr: float = 22050,
        hop_length: int = 512,
        fmin: float = 220,
        fmax: float | None = None,
        n_bins: int = 84,
        bins_per_octave: int = 12,
        norm: bool = True,
        basis_norm: float | None = 1,
        window: Window = "hann",
        pad_mode: PadMode = "reflect",
        earlydownsample: bool = True,
    ) -> None:
        """Build the layer; see :class:`sonograd.compat.nnaudio.features.CQT2010v2`."""
        super().__init__(
            sr=sr, hop_length=hop_length, fmin=fmin, fmax=fmax, n_bins=n_bins,
            bins_per_octave=bins_per_octave, norm=norm, basis_norm=basis_norm, window=window,
            pad_mode=pad_mode, earlydownsample=earlydownsample,
        )  # fmt: skip
