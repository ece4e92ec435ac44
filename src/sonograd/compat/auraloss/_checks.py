"""What the losses of :mod:`sonograd.compat.auraloss.freq` check and look up."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.filterbanks import chroma_filterbank, mel_filterbank
from sonograd.losses.base import check_signals

__all__ = ["Scale", "check_batch", "needed", "scale_bank", "window_by_name"]

Scale: TypeAlias = Literal["mel", "chroma"]


def check_batch(input: Tensor, target: Tensor) -> None:
    check_signals(input, target)
    if input.ndim != 3:
        raise ShapeError(
            f"input has shape {tuple(input.shape)}; expected (batch, channels, samples)"
        )


def window_by_name(name: str, length: int) -> Tensor:
    if not name.endswith("_window") or not hasattr(torch, name):
        raise ParameterError(
            f"window is {name!r}; expected a function of torch, such as 'hann_window'"
        )
    window: Tensor = getattr(torch, name)(length)
    return window


def needed(sample_rate: float | None, what: str) -> float:
    if sample_rate is None:
        raise ParameterError(f"{what} needs sample_rate, which is None")
    return sample_rate


def scale_bank(scale: Scale, sample_rate: float | None, n_fft: int, n_bins: int | None) -> Tensor:
    rate = needed(sample_rate, f"scale {scale!r}")
    if n_bins is None or not 1 <= n_bins <= n_fft:
        raise ParameterError(f"n_bins is {n_bins}; expected a number in [1, {n_fft}]")
    if scale == "mel":
        return mel_filterbank(sample_rate=rate, n_fft=n_fft, n_mels=n_bins)
    if scale == "chroma":
        return chroma_filterbank(sample_rate=rate, n_fft=n_fft, n_chroma=n_bins)
    raise ParameterError(f"scale is {scale!r}; expected 'mel' or 'chroma'")
