"""Transforms of whole signals by a Gabor frame, as operators of torch.

The windows of a frame, and the rates of its bands, depend on the length of the signal in a way
that no graph with symbolic lengths can express. An operator is one node of the graph: it designs
the frame for the length that it meets, and does what
:func:`~sonograd.functional.gabor_analysis` and :func:`~sonograd.functional.gabor_synthesis` do. The
two are each other's gradient, up to a factor for each band; ``transposed`` applies it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ShapeError
from sonograd.functional.gabor_frame import (
    GaborFrame,
    GaborSpectrum,
    gabor_frame,
    gabor_layout,
    whole_size,
)
from sonograd.functional.gabor_transform import gabor_analysis, gabor_synthesis

__all__ = ["analyze_whole", "synthesize_whole"]

_Settings = tuple[Sequence[float], float, int]
"""Edges of the bins in Hz, sample rate, bins that share a rate."""


def analyze_whole(x: Tensor, settings: _Settings) -> GaborSpectrum:
    """Transform signals ``(..., samples)`` by the frame for their length."""
    low, *octaves, high = _analysis(x, *settings, False)
    return GaborSpectrum(low, tuple(octaves), high, x.shape[-1])


def synthesize_whole(spectrum: GaborSpectrum, settings: _Settings) -> Tensor:
    """Return the signals ``(..., samples)`` with these coefficients."""
    parts = [spectrum.low, *spectrum.octaves, spectrum.high]
    signal: Tensor = _synthesis(parts, *settings, spectrum.samples, False)
    return signal


@lru_cache(maxsize=4)
def _frame(
    frequencies: tuple[float, ...],
    sample_rate: float,
    group: int,
    size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> GaborFrame:
    frame = gabor_frame(frequencies, sample_rate=sample_rate, size=size, group=group, dtype=dtype)
    return frame.to(torch.empty(0, dtype=dtype, device=device))


def _frame_like(
    like: Tensor, frequencies: Sequence[float], sample_rate: float, group: int, samples: int
) -> GaborFrame:
    size = whole_size(samples)
    return _frame(tuple(frequencies), sample_rate, group, size, like.dtype.to_real(), like.device)


@torch.library.custom_op("sonograd::gabor_analysis", mutates_args=())
def _analysis(
    x: Tensor, frequencies: Sequence[float], sample_rate: float, group: int, transposed: bool
) -> list[Tensor]:
    samples = x.shape[-1]
    frame = _frame_like(x, frequencies, sample_rate, group, samples)
    result = gabor_analysis(nnf.pad(x.detach(), (0, frame.size - samples)), frame)
    parts = [result.low, *result.octaves, result.high]
    if transposed:  # Of the synthesis, without whose factors it is the analysis.
        parts = [part / f for part, f in zip(parts, _factors(frame), strict=True)]
    return parts


@_analysis.register_fake
def _analysis_shapes(
    x: Tensor, frequencies: Sequence[float], sample_rate: float, group: int, transposed: bool
) -> list[Tensor]:
    lead, samples = x.shape[:-1], x.shape[-1]
    known = isinstance(samples, int)
    # How many bins share a rate does not depend on the length, only how high the rates are.
    layout = gabor_layout(
        frequencies, sample_rate=sample_rate, size=whole_size(samples) if known else 2, group=group
    )

    def rate(frames: int) -> int | torch.SymInt:
        return frames if known else torch.library.get_ctx().new_dynamic_size(min=1)

    complex_dtype = torch.promote_types(x.dtype, torch.complex64)
    return [
        x.new_empty(*lead, rate(layout.low_frames)),
        *(
            x.new_empty(*lead, len(numbers), rate(frames), dtype=complex_dtype)
            for numbers, frames in layout.bands
        ),
        x.new_empty(*lead, rate(layout.high_frames)),
    ]


@torch.library.custom_op("sonograd::gabor_synthesis", mutates_args=())
def _synthesis(
    coefficients: Sequence[Tensor],
    frequencies: Sequence[float],
    sample_rate: float,
    group: int,
    samples: int,
    transposed: bool,
) -> Tensor:
    parts = [part.detach() for part in coefficients]
    frame = _frame_like(parts[0], frequencies, sample_rate, group, samples)
    got = [part.shape[-1] for part in parts]
    expected = [frame.low_frames, *(band.frames for band in frame.bands), frame.high_frames]
    if got != expected:
        raise ShapeError(
            f"the coefficients have {got} frames; expected {expected}, those of {samples} samples"
        )
    if transposed:
        parts = [part * f for part, f in zip(parts, _factors(frame), strict=True)]
    low, *octaves, high = parts
    signal = gabor_synthesis(GaborSpectrum(low, tuple(octaves), high, samples), frame)
    return signal[..., :samples].clone()


@_synthesis.register_fake
def _synthesis_shape(
    coefficients: Sequence[Tensor],
    frequencies: Sequence[float],
    sample_rate: float,
    group: int,
    samples: int,
    transposed: bool,
) -> Tensor:
    low = coefficients[0]
    return low.new_empty(*low.shape[:-1], samples)


def _factors(frame: GaborFrame) -> list[float]:
    """What coefficients are multiplied with between the synthesis and the transposed analysis."""
    inner = (2 * band.frames / frame.size for band in frame.bands)
    return [frame.low_frames / frame.size, *inner, frame.high_frames / frame.size]


def _remember_analysis(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, *ctx.settings, ctx.transposed = inputs
    ctx.samples = x.shape[-1]


def _analysis_gradient(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    grad = _synthesis(grads, *ctx.settings, ctx.samples, not ctx.transposed)
    return grad, None, None, None, None


def _remember_synthesis(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, *ctx.settings, _, ctx.transposed = inputs


def _synthesis_gradient(ctx: Any, grad: Tensor) -> tuple[list[Tensor] | None, ...]:
    grads = _analysis(grad, *ctx.settings, not ctx.transposed)
    return grads, None, None, None, None, None


_analysis.register_autograd(_analysis_gradient, setup_context=_remember_analysis)
_synthesis.register_autograd(_synthesis_gradient, setup_context=_remember_synthesis)
