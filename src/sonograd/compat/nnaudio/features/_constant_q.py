"""What the constant-Q layers share: kernels, normalizations, the forms of their results."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.compat.nnaudio._bank import KernelBank
from sonograd.compat.nnaudio._layer import Layer, form, unflatten
from sonograd.compat.nnaudio._windows import Array
from sonograd.compat.nnaudio.features._shared_octaves import Apply
from sonograd.compat.nnaudio.utils import create_fourier_kernels, fft
from sonograd.errors import ParameterError, ShapeError

__all__ = [
    "ConstantQLayer",
    "apply_spectra",
    "check_length",
    "convolution",
    "fourier_kernel",
    "hold",
    "kernel_spectrum",
    "make_bank",
]


class ConstantQLayer(Layer):
    """What all of them share: the normalizations and the forms of the result."""

    output_format: str
    trainable: bool
    lenghts: Tensor

    def _finish(
        self, y: Tensor, lead: torch.Size, output_format: str | None, normalization_type: str
    ) -> Tensor:
        """Scale and shape ``(batch, bins, frames)``, L1-normalized."""
        if normalization_type == "librosa":
            y = y * self.lenghts.to(y.real).sqrt()[:, None]
        elif normalization_type == "wrap":
            y = y * 2
        elif normalization_type != "convolutional":
            raise ParameterError(
                f"normalization_type is {normalization_type!r}; expected 'librosa', "
                "'convolutional' or 'wrap'"
            )
        chosen = output_format or self.output_format
        return unflatten(form(y, chosen, floor=1e-8 if self.trainable else 0.0), lead)


def check_length(x: Tensor, width: int) -> None:
    """Refuse signals that no kernel fits into."""
    if x.shape[-1] < width:
        raise ShapeError(
            f"x has {x.shape[-1]} samples; expected at least {width}, the kernel width, with "
            "center=False"
        )


def make_bank(layer: Layer, kernels: Array, hop_length: int) -> KernelBank:
    """Return the bank of ``kernels`` on the device of ``layer``."""
    if hop_length < 1:
        raise ParameterError(f"hop_length is {hop_length}; expected at least 1")
    with torch.device("cpu"):
        bank = KernelBank(kernels, hop_length=hop_length)
    return bank.to(layer._place.device)


def convolution(weights: Tensor) -> Apply:
    """Return the convolution with real and negative imaginary parts of kernels."""

    def apply(y: Tensor, hop: int) -> Tensor:
        return torch.complex(*nnf.conv1d(y, weights, stride=hop).chunk(2, 1))

    return apply


def fourier_kernel(name: str, width: int) -> Tensor:
    """Return the sines or cosines of a one-sided transform, ``(bins, 1, width)``."""
    wsin, wcos, *_ = create_fourier_kernels(width, window="ones", freq_scale="no")
    return torch.tensor(wsin if name == "wsin" else wcos)


def kernel_spectrum(name: str, kernels: Array) -> Tensor:
    """Return real or imaginary part of the one-sided spectra of kernels."""
    spectra = fft(kernels)[:, : kernels.shape[1] // 2 + 1]
    return torch.tensor((spectra.real if name == "cqt_kernels_real" else spectra.imag).copy())


def hold(layer: Layer, names: tuple[str, ...], trainable: bool, *, kept: bool) -> None:
    """Hold kernels as parameters or constants, or only offer them."""
    if not kept:
        layer.offer(*names)
        return
    for name in names:
        with torch.device("cpu"):
            value = layer.make(name)
        (layer.parameter if trainable else layer.constant)(name, value)


def apply_spectra(layer: Any, y: Tensor, hop: int) -> Tensor:
    """Apply kernels given by their spectra to frames of ``(batch, 1, samples)``."""
    waves = torch.cat([layer.wcos, -layer.wsin]).to(y.dtype)
    spectrum = torch.complex(*nnf.conv1d(y, waves, stride=hop).chunk(2, 1))
    kernels = torch.complex(layer.cqt_kernels_real, -layer.cqt_kernels_imag).to(spectrum.dtype)
    return kernels @ spectrum
