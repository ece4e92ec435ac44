"""``Gammatonegram``."""

from typing import Any

import torch
from torch import Tensor

from sonograd.compat.nnaudio._windows import Window, named
from sonograd.compat.nnaudio.features.mel import BandLayer
from sonograd.compat.nnaudio.features.stft import STFT
from sonograd.compat.nnaudio.librosa_functions import get_gammatone
from sonograd.frontends.gammatone import GammatoneSpectrogram as FrontEnd
from sonograd.functional.framing import PadMode

__all__ = ["Gammatonegram"]


class Gammatonegram(BandLayer):
    """``nnAudio.features.Gammatonegram``; ``gammatone_basis`` is ``(n_bins, n_fft // 2 + 1)``."""

    def __init__(
        self,
        sr: float = 22050,
        n_fft: int = 2048,
        win_length: int | None = None,
        n_bins: int = 64,
        hop_length: int = 512,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        power: float = 2.0,
        htk: bool = False,
        fmin: float = 0.0,
        fmax: float | None = None,
        norm: float | None = 1,
        trainable_bins: bool = False,
        trainable_STFT: bool = False,  # noqa: N803 - of the signature
        verbose: bool = True,
        **kwargs: Any,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        self.stride, self.center, self.pad_mode = hop_length, center, pad_mode
        self.n_fft, self.power = n_fft, power
        self.trainable_bins, self.trainable_STFT = trainable_bins, trainable_STFT
        self.stft = STFT(
            n_fft=n_fft, win_length=win_length, hop_length=hop_length, window=window,
            freq_scale="no", center=center, pad_mode=pad_mode, sr=sr, trainable=trainable_STFT,
            output_format="Magnitude", **kwargs,
        )  # fmt: skip
        self._basis = (sr, n_fft, n_bins, fmin, fmax)
        self._front: FrontEnd | None = None
        with torch.device("cpu"):
            if not (trainable_bins or trainable_STFT):
                self._front = FrontEnd(
                    sample_rate=sr, n_fft=n_fft, win_length=win_length, hop_length=hop_length,
                    window=named(window), center=center, pad_mode=pad_mode, n_bands=n_bins,
                    fmin=fmin, fmax=fmax, power=power,
                ).to(self._place.device)  # fmt: skip
        if trainable_bins:
            self.parameter("gammatone_basis", self.make("gammatone_basis"))
        elif trainable_STFT:
            self.constant("gammatone_basis", self.make("gammatone_basis"))
        else:
            self.offer("gammatone_basis")

    def make(self, name: str) -> Tensor:
        """Return the filter bank."""
        return torch.tensor(get_gammatone(*self._basis), device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, n_bins, frames)`` of ``(batch, samples)``."""
        return self._bands(x, "gammatone_basis")

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        size = (self._basis[2], self.n_fft // 2 + 1)
        return f"Gammatone filter banks size = {size}, trainable_bins={self.trainable_bins}"
