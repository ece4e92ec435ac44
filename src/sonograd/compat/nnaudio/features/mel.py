"""``MelSpectrogram`` and ``MFCC``."""

import math
from typing import Any

import torch
from torch import Tensor

from sonograd.compat.nnaudio._layer import Layer, flat_signals, unflatten
from sonograd.compat.nnaudio._windows import Window, named
from sonograd.compat.nnaudio.features.stft import STFT
from sonograd.compat.nnaudio.librosa_functions import get_mel
from sonograd.errors import ParameterError
from sonograd.frontends.mel import MelSpectrogram as FrontEnd
from sonograd.functional import power_to_db
from sonograd.functional._settings import check_count, check_option
from sonograd.functional.cepstral import cosine_basis
from sonograd.functional.framing import PadMode

__all__ = ["MFCC", "MelSpectrogram"]


class BandLayer(Layer):
    """A filter bank on the powers of an STFT; by a front end of ours where nothing is trained."""

    stft: STFT
    power: float

    def _bands(self, x: Tensor, basis: str) -> Tensor:
        signals, lead = flat_signals(x)
        if self._front is not None:
            return unflatten(self._front(signals), lead)
        pair = self.stft(signals, output_format="Complex")
        squares = pair.square().sum(-1)
        # The floors keep gradients finite on silence; nnAudio has the first one.
        squares = squares + 1e-8 if self.stft.trainable else squares
        if self.power != 2:
            squares = squares.clamp(min=torch.finfo(squares.dtype).tiny) ** (self.power / 2)
        bank: Tensor = getattr(self, basis)
        return unflatten(bank.to(squares.dtype) @ squares, lead)


class MelSpectrogram(BandLayer):
    """``nnAudio.features.MelSpectrogram``; ``mel_basis`` is ``(n_mels, n_fft // 2 + 1)``."""

    def __init__(
        self,
        sr: float = 22050,
        n_fft: int = 2048,
        win_length: int | None = None,
        n_mels: int = 128,
        hop_length: int = 512,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        power: float = 2.0,
        htk: bool = False,
        fmin: float = 0.0,
        fmax: float | None = None,
        norm: float | None = 1,
        trainable_mel: bool = False,
        trainable_STFT: bool = False,  # noqa: N803 - of the signature
        verbose: bool = True,
        **kwargs: Any,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        self.stride, self.center, self.pad_mode = hop_length, center, pad_mode
        self.n_fft, self.power = n_fft, power
        self.trainable_mel, self.trainable_STFT = trainable_mel, trainable_STFT
        self.stft = STFT(
            n_fft=n_fft, win_length=win_length, hop_length=hop_length, window=window,
            freq_scale="no", center=center, pad_mode=pad_mode, sr=sr, trainable=trainable_STFT,
            output_format="Magnitude", **kwargs,
        )  # fmt: skip
        if norm not in (None, 1, math.inf):
            raise ParameterError(f"norm is {norm!r}; expected 1, None or inf")
        self._basis = (sr, n_fft, n_mels, fmin, fmax, htk, norm)
        self._front: FrontEnd | None = None
        with torch.device("cpu"):
            if not (trainable_mel or trainable_STFT):
                self._front = FrontEnd(
                    sample_rate=sr, n_fft=n_fft, win_length=win_length, hop_length=hop_length,
                    window=named(window), center=center, pad_mode=pad_mode, n_mels=n_mels,
                    fmin=fmin, fmax=fmax, mel_scale="htk" if htk else "slaney",
                    norm="slaney" if norm == 1 else "none", power=power,
                ).to(self._place.device)  # fmt: skip
        if trainable_mel:
            self.parameter("mel_basis", self.make("mel_basis"))
        elif trainable_STFT:
            self.constant("mel_basis", self.make("mel_basis"))
        else:
            self.offer("mel_basis")

    def make(self, name: str) -> Tensor:
        """Return the filter bank."""
        return torch.tensor(get_mel(*self._basis), device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, n_mels, frames)`` of ``(batch, samples)``."""
        return self._bands(x, "mel_basis")

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        size = (self._basis[2], self.n_fft // 2 + 1)
        return f"Mel filter banks size = {size}, trainable_mel={self.trainable_mel}"


class MFCC(Layer):
    """``nnAudio.features.MFCC``; further arguments are those of :class:`MelSpectrogram`.

    ``norm=None`` leaves the cosine transform without scaling, which nnAudio does not do.
    """

    def __init__(
        self,
        sr: float = 22050,
        n_mfcc: int = 20,
        norm: str | None = "ortho",
        verbose: bool = True,
        ref: float = 1.0,
        amin: float = 1e-10,
        top_db: float | None = 80.0,
        **kwargs: Any,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        check_option(norm, "norm", ("ortho", None))
        power_to_db(torch.ones(1, 1, device="cpu"), reference=abs(ref), amin=amin, top_db=top_db)
        bands = kwargs.get("n_mels", 128)
        check_count("n_mels", bands)
        if not 1 <= n_mfcc <= bands:
            raise ParameterError(f"n_mfcc is {n_mfcc}; expected 1 to n_mels ({bands})")
        self.melspec_layer = MelSpectrogram(sr=sr, **kwargs)
        self.n_mfcc = self.m_mfcc = n_mfcc
        self.norm, self.top_db = norm, top_db
        self.constant("amin", [amin])
        self.constant("ref", [abs(ref)])
        self._levels = (abs(ref), amin)
        with torch.device("cpu"):
            basis = cosine_basis(n_mfcc, bands, norm=norm == "ortho")
        self.constant("_cosines", basis.float())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, n_mfcc, frames)`` of ``(batch, samples)``."""
        reference, amin = self._levels
        level = power_to_db(
            self.melspec_layer(x), reference=reference, amin=amin, top_db=self.top_db
        )
        coefficients: Tensor = self._cosines.to(level.dtype) @ level
        return coefficients

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        return f"n_mfcc = {self.n_mfcc}"
