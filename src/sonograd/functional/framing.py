"""Frames of a signal: what lies outside of it, and how they are worked through in little memory."""

import math
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.functional._settings import check_option
from sonograd.functional._transforms import plain_form_needed

__all__ = [
    "PadMode",
    "check_pad_mode",
    "excerpt",
    "extend",
    "flat_rows",
    "frame_count",
    "frame_signal",
    "map_frames",
    "may_work_in_pieces",
    "pieces",
    "store",
    "weigh_frames",
]

PadMode: TypeAlias = Literal["reflect", "constant", "replicate", "circular"]

_CHUNK = 1 << 18  # values of frames that are worked on together: they stay in the cache


def check_pad_mode(pad_mode: str) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless there is such a mode."""
    check_option(pad_mode, "pad_mode", ("reflect", "constant", "replicate", "circular"))


def flat_rows(x: Tensor) -> Tensor:
    """Return signals ``(..., samples)`` as ``(rows, samples)``, also if there are no samples."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def frame_count(samples: int, *, n_fft: int, hop_length: int, before: int, after: int) -> int:
    """Frames that fit into a signal extended by ``before`` and ``after`` samples."""
    return max(0, 1 + (samples + before + after - n_fft) // hop_length)


def extend(x: Tensor, start: int, stop: int, *, pad_mode: PadMode) -> Tensor:
    """Samples ``start`` to ``stop`` of a signal that goes on outside of ``0`` to ``samples``.

    Args:
        x: Signals ``(..., samples)``.
        start: The first sample, also below 0.
        stop: One after the last, also above ``samples``; not below ``start``.
        pad_mode: What lies outside: ``"reflect"`` mirrors the signal about its first and last
            sample, again and again where it is short (one sample repeats); ``"constant"`` is
            silence; ``"replicate"`` repeats the first and last sample; ``"circular"`` repeats the
            signal. No samples give zeros.

    Returns:
        ``(..., stop - start)``.

    >>> extend(torch.tensor([1.0, 2.0, 3.0]), -2, 5, pad_mode="reflect")
    tensor([3., 2., 1., 2., 3., 2., 1.])
    """
    samples = x.shape[-1]
    before, after = -start, stop - samples
    if start > 0 and pad_mode == "constant":  # Perhaps nothing of the signal is left.
        x, before = x[..., start:], 0
        after = stop - start - x.shape[-1]
    if pad_mode == "constant" or x.numel() == 0:
        return nnf.pad(x, (before, after))  # negative numbers cut
    longest = {"reflect": samples - 1, "circular": samples, "replicate": stop - start}[pad_mode]
    if min(before, after) >= 0 and max(before, after) <= longest:
        if before == after == 0:
            return x
        flat = nnf.pad(x.reshape(-1, samples), (before, after), mode=pad_mode)
        return flat.reshape(*x.shape[:-1], -1)
    position = torch.arange(start, stop, device=x.device)
    return x.index_select(-1, _inside(position, samples, pad_mode))


def _inside(position: Tensor, samples: int, pad_mode: PadMode) -> Tensor:
    """Return the samples that are heard at ``position``, in or outside of the signal."""
    if pad_mode == "replicate" or samples == 1:
        return position.clamp(0, samples - 1)
    if pad_mode == "circular":
        return position % samples
    period = 2 * (samples - 1)
    position = position % period
    return torch.minimum(position, period - position)


def frame_signal(
    x: Tensor,
    *,
    n_fft: int,
    hop_length: int,
    before: int = 0,
    after: int = 0,
    pad_mode: PadMode = "constant",
) -> Tensor:
    """Cut signals into overlapping frames.

    Args:
        x: ``(..., samples)``.
        n_fft: Samples per frame.
        hop_length: Samples between the starts of frames.
        before: Samples that are added in front.
        after: Samples that are added behind.
        pad_mode: What they are, see :func:`extend`.

    Returns:
        ``(..., frames, n_fft)``, a view of the extended signal.
    """
    x = extend(x, -before, x.shape[-1] + after, pad_mode=pad_mode)
    if x.shape[-1] < n_fft:
        return x.new_zeros(*x.shape[:-1], 0, n_fft)
    return x.unfold(-1, n_fft, hop_length)


def weigh_frames(frames: Tensor, matrix: Tensor) -> Tensor:
    """Multiply frames ``(..., n_fft)`` that are a view of signals with ``(n_fft, features)``."""
    if torch.compiler.is_exporting():  # Of a view, the graph would depend on the strides.
        frames = frames.clone(memory_format=torch.contiguous_format)
    return frames @ matrix


def excerpt(x: Tensor, start: int, stop: int, *, dim: int = -1) -> Tensor:
    """Return ``start`` to ``stop`` of an axis, which must be there, for graphs of any length.

    In an exported graph it is a copy: of a view, the graph would depend on whether it is a part or
    the whole.
    """
    if torch.compiler.is_exporting():
        return x.index_select(dim, torch.arange(start, stop, device=x.device))
    return x.narrow(dim, start, stop - start)


def may_work_in_pieces(*tensors: Tensor | None) -> bool:
    """Tell whether :func:`map_frames` can be used: nothing follows the operations.

    Gradients, transforms and graphs need them without writing in place.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if torch.compiler.is_compiling():
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in present):
        return False
    return not plain_form_needed(*present)


def store(values: Tensor, out: Tensor) -> Tensor:
    """Copy values of the same shape, where no gradient is asked for; return ``out``.

    On one thread of the CPU as a plain run of memory, which writes large results faster than torch.
    """
    plain = type(values) is Tensor and values.dtype == out.dtype and out.device.type == "cpu"
    if not plain or torch.get_num_threads() > 1:
        return out.copy_(values)
    np.copyto(out.detach().numpy(), values.detach().numpy())
    return out


def map_frames(
    x: Tensor,
    transform: Callable[[Tensor, Tensor | None], Tensor],
    *,
    n_fft: int,
    hop_length: int,
    before: int,
    after: int,
    pad_mode: PadMode,
    features: int,
    dtype: torch.dtype,
    scratch: int = 0,
) -> Tensor:
    """Apply a function to every frame, a few at a time, with scratch memory for those alone.

    Args:
        x: Signals ``(..., samples)``.
        transform: Takes ``(rows, n_fft)`` frames, which it must leave as they are, and a tensor
            ``(rows, features)`` to write its result to; returns that tensor. With None in place of
            it, takes frames of any leading shape and returns a new tensor.
        n_fft: Samples per frame.
        hop_length: Samples between the starts of frames.
        before: Samples in front of the signal.
        after: Samples behind the signal.
        pad_mode: What they are, see :func:`extend`.
        features: Numbers per frame that ``transform`` gives.
        dtype: Their type.
        scratch: Numbers that ``transform`` holds per frame, if more than ``n_fft``.

    Returns:
        ``(..., frames, features)``.
    """
    samples = x.shape[-1]
    count = frame_count(samples, n_fft=n_fft, hop_length=hop_length, before=before, after=after)
    result = x.new_empty(*x.shape[:-1], count, features, dtype=dtype)
    if result.numel() == 0:
        return result
    flat, out = flat_rows(x), result.view(-1, count, features)
    # Frames inside the signal are read where they lie; only those at its ends need a copy.
    first = min(-(-before // hop_length), count)
    last = max(first, min(count, (samples - n_fft + before) // hop_length + 1))
    for begin, end in ((0, first), (first, last), (last, count)):
        if begin == end:
            continue
        start = begin * hop_length - before
        stop = (end - 1) * hop_length - before + n_fft
        inside = start >= 0 and stop <= samples
        part = flat[:, start:stop] if inside else extend(flat, start, stop, pad_mode=pad_mode)
        frames = part.unfold(-1, n_fft, hop_length)
        for items, rows in pieces(len(flat), end - begin, max(n_fft, scratch), x.device):
            piece = frames[items, rows]
            piece = piece[0] if piece.shape[0] == 1 else piece.flatten(0, 1)
            place = out[items, begin + rows.start : begin + rows.stop]
            if place.shape[0] == 1 or place.is_contiguous():
                transform(piece, place.view(-1, features))
            else:
                place.copy_(transform(piece, None).view(place.shape))
    return result


def pieces(
    items: int, frames: int, scratch: int, device: torch.device
) -> Iterator[tuple[slice, slice]]:
    """Cut the work into runs of frames of one item, or into runs of items with all frames.

    A run has so many frames of ``scratch`` numbers that they stay in the cache.
    """
    limit = _CHUNK if device.type == "cpu" else 64 * _CHUNK
    rows = max(1, limit // scratch)
    if rows < frames or items == 1:
        step = math.ceil(frames / math.ceil(frames / rows))
        for item in range(items):
            for begin in range(0, frames, step):
                yield slice(item, item + 1), slice(begin, min(begin + step, frames))
        return
    together = rows // frames
    for begin in range(0, items, together):
        yield slice(begin, min(begin + together, items)), slice(0, frames)
