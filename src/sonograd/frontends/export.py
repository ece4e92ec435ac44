"""Layers in a form that other programs can run."""

import copy
from typing import TypeVar

from torch import nn

from sonograd.errors import ParameterError
from sonograd.frontends.cepstral import CombinedFrequencyPeriodicity
from sonograd.frontends.constant_q import VariableQ
from sonograd.frontends.gammatone import GammatoneFilterbank, GammatoneSpectrogram
from sonograd.frontends.griffin_lim import GriffinLim
from sonograd.frontends.invertible import InvertibleConstantQ
from sonograd.frontends.short_time import ShortTime

__all__ = ["exportable"]

_WITHOUT = (CombinedFrequencyPeriodicity, GammatoneFilterbank, GriffinLim, InvertibleConstantQ)

Layer = TypeVar("Layer", bound=nn.Module)


def exportable(layer: Layer) -> Layer:
    """Copy a layer, or a network that has layers in it, for ``torch.onnx.export``.

    Fourier transforms become one convolution with explicit kernels, and all numbers are real: what
    every runtime of ONNX knows. The graph takes signals of any length that its padding allows
    (``pad_mode="reflect"`` needs more than half a frame), all frames at once.

    Args:
        layer: Any module; :class:`STFT` with ``output="magnitude"`` or ``"power"``,
            :class:`MelSpectrogram`, :class:`MFCC`, :class:`GammatoneSpectrogram`, :class:`Chroma`
            and :class:`ConstantQ` with ``method="direct"`` in it are prepared.

    Returns:
        The copy, in evaluation mode; it gives the same numbers up to rounding.

    Raises:
        ParameterError: If a layer has no such form.

    >>> import torch
    >>> from sonograd.frontends import MelSpectrogram
    >>> mel, x = MelSpectrogram(sample_rate=8000, n_fft=256, n_mels=20), torch.rand(1, 2000)
    >>> bool(torch.allclose(exportable(mel)(x), mel(x), rtol=1e-4))
    True
    """
    if not isinstance(layer, nn.Module):
        raise ParameterError(f"layer is a {type(layer).__name__}; expected a module of torch")
    result = copy.deepcopy(layer).eval()
    for module in result.modules():
        if isinstance(module, GammatoneSpectrogram) and module.filters is not None:
            raise ParameterError(
                "a gammatone spectrogram with method='filters' is recursive and has no form as a "
                "convolution; use method='fft'"
            )
        if isinstance(module, _WITHOUT):
            raise ParameterError(
                f"a layer of type {type(module).__name__} has no form as a convolution; ONNX takes "
                "STFT, MelSpectrogram, MFCC, GammatoneSpectrogram, Chroma and ConstantQ"
            )
        if isinstance(module, ShortTime):
            module.convolve()
        elif isinstance(module, VariableQ) and (
            module.method != "direct" or module.output not in {"magnitude", "power"}
        ):
            raise ParameterError(
                f"a constant-Q layer with method={module.method!r} and output={module.output!r} "
                "has no form as a convolution; use method='direct' and 'magnitude' or 'power'"
            )
    return result
