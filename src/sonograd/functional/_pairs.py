"""Checks and preparation that all measures of ``(estimate, reference)`` share."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.shapes import check_audio, check_floating

__all__ = [
    "Lengths",
    "center",
    "check_finite",
    "check_pair",
    "item_lengths",
    "lengths_tensor",
    "map_items",
    "prepare",
    "ratio_db",
    "result_dtype",
    "wide",
]

Lengths: TypeAlias = Tensor | Sequence[int] | int
"""Samples that count, one for each index of the first dimensions; what follows is padding."""


def check_pair(estimate: Tensor, reference: Tensor, *, dims: int = 1) -> None:
    """Refuse a pair that cannot be compared, whatever its values.

    Args:
        estimate: ``(..., samples)``, with at least ``dims`` dimensions.
        reference: The same shape.
        dims: 1 for signals, 2 for ``(..., channels, samples)``, 3 for
            ``(..., sources, channels, samples)``.

    Raises:
        ShapeError: The types, the number of axes, their sizes or their order are wrong.
    """
    check_floating(estimate, name="estimate")
    check_floating(reference, name="reference")
    if estimate.shape != reference.shape:
        hint = "they must be equal (nothing is broadcast)"
        if estimate.shape[:-1] == reference.shape[:-1]:
            missing = reference.shape[-1] - estimate.shape[-1]
            word = "shorter" if missing > 0 else "longer"
            hint += f"; the estimate is {abs(missing)} samples {word}: cut or pad one of them"
        raise ShapeError(
            f"estimate has shape {tuple(estimate.shape)} but reference has "
            f"{tuple(reference.shape)}; {hint}"
        )
    layout = ("samples", "channels, samples", "sources, channels, samples")[dims - 1]
    if estimate.ndim < dims:
        raise ShapeError(f"estimate has shape {tuple(estimate.shape)}; expected (..., {layout})")
    if not estimate.numel():
        raise ShapeError(f"estimate has shape {tuple(estimate.shape)}, which holds no samples")
    if dims > 1:
        check_audio(estimate, name="estimate")
    if estimate.ndim > 1 and estimate.shape[-1] <= 8 and estimate.shape[-2] > 256:
        raise ShapeError(
            f"estimate has shape {tuple(estimate.shape)}; expected (..., {layout}). "
            "Is it (samples, channels)? Then pass estimate.mT and reference.mT."
        )


def check_finite(x: Tensor, *, name: str) -> None:
    """Raise :class:`~sonograd.errors.AudioError` if a sample is NaN or infinite.

    Not in compiled graphs and under ``torch.func``, where values cannot be looked at.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return
    x = x.detach()
    if bool(x.sum().isfinite()):
        return
    wrong = ~x.isfinite()
    if not bool(wrong.any()):
        return
    place = torch.nonzero(wrong)[0].tolist()
    raise AudioError(
        f"{name} holds {int(wrong.sum())} samples that are NaN or infinite, the first at index "
        f"{tuple(place)}; a score would mean nothing. Find out where they come from, or pass "
        f"{name}.nan_to_num() if they may count as silence."
    )


def wide(x: Tensor) -> Tensor:
    """Return ``x`` in the widest type that its device has."""
    return x.float() if x.device.type == "mps" else x.double()


def result_dtype(x: Tensor) -> torch.dtype:
    """Return the type of a measure of ``x``: its own, but never half precision."""
    return torch.promote_types(x.dtype, torch.float32)


def lengths_tensor(lengths: Lengths, shape: torch.Size, *, keep: int) -> Tensor:
    """Return ``lengths`` as int64 with the shape of the first dimensions of ``shape``.

    Args:
        lengths: What the caller gave.
        shape: The shape of the estimate.
        keep: How many of the last dimensions belong to one item.
    """
    counts = torch.as_tensor(lengths)
    if counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise ParameterError(f"lengths has dtype {counts.dtype}; expected whole numbers of samples")
    counts = counts.to(torch.int64).cpu()
    if counts.ndim > len(shape) - keep or counts.shape != shape[: counts.ndim]:
        raise ShapeError(
            f"lengths has shape {tuple(counts.shape)}, but estimate {tuple(shape)}; expected one "
            f"length for each index of its first dimensions, for example ({shape[0]},)"
        )
    if bool((counts < 1).any()) or bool((counts > shape[-1]).any()):
        raise ParameterError(
            f"lengths go from {int(counts.min())} to {int(counts.max())}; "
            f"expected 1 to {shape[-1]}, the number of samples"
        )
    return counts


def item_lengths(
    lengths: Lengths | None, shape: torch.Size | tuple[int, ...], *, keep: int
) -> list[int]:
    """Return the length of every item of a batch, in the order of its flattened dimensions."""
    lead = shape[: len(shape) - keep]
    counts = torch.full(lead, shape[-1])
    if lengths is not None:
        given = lengths_tensor(lengths, torch.Size(shape), keep=keep)
        counts = given.reshape(given.shape + (1,) * (len(lead) - given.ndim)).expand(lead)
    cuts: list[int] = counts.flatten().tolist()
    return cuts


def prepare(
    estimate: Tensor, reference: Tensor, lengths: Lengths | None, *, dims: int = 1
) -> tuple[Tensor, Tensor, Tensor | int]:
    """Check a pair; return it in double precision with silence as padding, and what counts.

    Returns:
        Estimate and reference, and the number of samples of each signal: an integer, or
        ``(..., 1)`` such that it broadcasts.
    """
    check_pair(estimate, reference, dims=dims)
    samples = estimate.shape[-1]
    count: Tensor | int = samples
    if lengths is not None:
        counts = lengths_tensor(lengths, estimate.shape, keep=dims)
        count = counts.reshape(*counts.shape, *[1] * (estimate.ndim - counts.ndim))
        count = count.to(estimate.device)
        inside = torch.arange(samples, device=estimate.device) < count
        estimate, reference = estimate.where(inside, 0.0), reference.where(inside, 0.0)
    check_finite(estimate, name="estimate")
    check_finite(reference, name="reference")
    return wide(estimate), wide(reference), count


def map_items(
    function: Callable[[Tensor, Tensor], Tensor],
    estimate: Tensor,
    reference: Tensor,
    lengths: Lengths | None,
    *,
    dims: int,
) -> Tensor:
    """Apply ``function`` to a checked pair; with ``lengths``, to each item without its padding.

    Args:
        function: Takes ``(..., samples)`` pairs and returns one value per item, ``(...)``, its
            last ``dims`` dimensions gone.
        estimate: ``(..., samples)``.
        reference: The same shape.
        lengths: Samples that count, or None for all.
        dims: Dimensions of one item.
    """
    check_pair(estimate, reference, dims=dims)
    if lengths is None:
        check_finite(estimate, name="estimate")
        check_finite(reference, name="reference")
        return function(estimate, reference)
    counts = lengths_tensor(lengths, estimate.shape, keep=dims)
    rest = estimate.shape[counts.ndim :]
    pairs = zip(estimate.reshape(-1, *rest), reference.reshape(-1, *rest), strict=True)
    values = [
        map_items(function, e[..., :count], r[..., :count], None, dims=dims)
        for (e, r), count in zip(pairs, counts.flatten().tolist(), strict=True)
    ]
    return torch.stack(values).reshape(counts.shape + values[0].shape)


def center(x: Tensor, count: Tensor | int) -> Tensor:
    """Subtract the mean of the samples that count; padding stays silent."""
    centered = x - x.sum(-1, keepdim=True) / count
    if isinstance(count, int):
        return centered
    return centered.where(torch.arange(x.shape[-1], device=x.device) < count, 0.0)


def ratio_db(signal: Tensor, noise: Tensor) -> Tensor:
    """Return the ratio of two energies in dB."""
    return 10.0 * torch.log10(signal / noise)
