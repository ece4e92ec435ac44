r"""The fast constant-Q transform: one FFT per block, spectra of the atoms, one small inverse FFT.

With blocks of :math:`M = H M_h` samples at a hop of :math:`H`, the response at the frames of a
block needs only the spectrum folded to the frame rate:

.. math::
    C_k[t] = \frac{1}{M} \sum_{j=0}^{M_h - 1} e^{2 \pi i j t / M_h}
             \sum_r X[j + r M_h] \, \overline{G_k[j + r M_h]}

and of the inner sum only the few rows :math:`r` in which the atom :math:`G_k` has energy. It is a
small matrix product for each :math:`j`, the outer sum an inverse FFT of length :math:`M_h`. Blocks
overlap by the longest atom, so that memory does not depend on the length of the signal, and hops
need not divide anything.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sonograd.functional.constant_q_windows import WindowSpectrum
from sonograd.functional.convolution import fast_length
from sonograd.functional.framing import PadMode, excerpt, extend, may_work_in_pieces

__all__ = [
    "Atoms",
    "FoldGroup",
    "FoldPlan",
    "evaluate_pieces",
    "exact_fold_weights",
    "fold",
    "fold_weights",
    "plan_fold",
    "sample_atom",
]

_LEAST_BLOCK = 1 << 15
_SCRATCH = 1 << 20
_GROUP = 12


class Atoms(NamedTuple):
    """Windows on complex exponentials, one for each bin; all fields are ``(bins,)``."""

    frequencies: Tensor
    """In cycles per sample."""
    lengths: Tensor
    """In samples."""
    scales: Tensor
    """The sum of the magnitudes of an atom's samples."""
    centers: Tensor
    """Where the middle of the window lies, in samples after the middle of the frame."""
    strides: Tensor
    """Samples from one point of the atom to the next."""
    frame_lengths: Tensor
    """If above 0, an atom is cut to its positive frequencies by a transform of so many points, and
    the signal is filtered for the rate at which the atom is sampled."""


class FoldGroup(NamedTuple):
    """Bins that share rows of the spectrum."""

    first: int
    stop: int
    first_row: int
    rows: int
    aliases: int


class FoldPlan(NamedTuple):
    """The sizes of everything, which depend on neither the length nor the number of signals."""

    hop_length: int
    frames: int
    """Frames in a block, :math:`M_h`, with those of the overlap."""
    margin: int
    """Frames of the overlap, at either end."""
    groups: tuple[FoldGroup, ...]
    decimated: bool
    """Whether atoms are sampled at rates of their own, as librosa does it; weights are complex."""


def plan_fold(
    atoms: Atoms,
    *,
    hop_length: int,
    reach: float,
    frequency_octaves: float = 0.0,
    length_octaves: float = 0.0,
) -> FoldPlan:
    """Decide the length of blocks and the rows of every group of bins.

    Args:
        atoms: The atoms, in float64.
        hop_length: Samples between frames.
        reach: Lobes of the window's spectrum to keep, at either side.
        frequency_octaves: How far the frequencies will be moved at most.
        length_octaves: How far the lengths will be moved at most.
    """
    longest = float(atoms.lengths.max()) * 2**length_octaves
    margin = math.ceil(longest / 2 / hop_length) + 1
    least = max(4 * longest, _LEAST_BLOCK, 3 * margin * hop_length)
    stride = int(atoms.strides.max())
    step = stride // math.gcd(stride, hop_length)
    frames = fast_length(math.ceil(least / hop_length / step)) * step
    shortest = atoms.lengths * 2**-length_octaves
    span = 2**frequency_octaves
    lows, highs = (
        atoms.frequencies / span - reach / shortest,
        atoms.frequencies * span + reach / shortest,
    )
    decimated = bool((atoms.frame_lengths > 0).any())
    if decimated:
        lows = lows.maximum(-0.5 / atoms.strides)
        highs = highs.minimum(0.5 / atoms.strides)
    lows, highs = (lows * hop_length).floor(), (highs * hop_length).ceil()
    groups = []
    for stop in range(len(lows), 0, -_GROUP):
        bins = slice(max(0, stop - _GROUP), stop)
        low, high = float(lows[bins].min()), float(highs[bins].max())
        aliases = 2 if float(shortest[bins].min()) < 2 * reach else 0
        if high - low >= hop_length:  # The whole circle, at most a row away from its middle.
            low = math.floor((float(atoms.frequencies[bins].mean()) - 0.5) * hop_length)
            high, aliases = low + hop_length, max(aliases, 1)
        groups.append(FoldGroup(bins.start, stop, int(low), int(high - low), aliases))
    return FoldPlan(hop_length, frames, margin, tuple(reversed(groups)), decimated)


def fold_weights(plan: FoldPlan, atoms: Atoms, pieces: Tensor) -> list[Tensor]:
    """Return the matrices of every group from the tabulated spectrum of the window.

    They are differentiable in the frequencies, lengths and scales of ``atoms``, which must be
    centered and not decimated.

    Args:
        plan: The sizes.
        atoms: The atoms.
        pieces: The table of :class:`~sonograd.functional.constant_q_windows.WindowSpectrum`, with
            the precision and device of ``atoms``.

    Returns:
        Real matrices, ``(frames, rows, bins)``.
    """
    return [_group_weights(plan, group, _members(atoms, group), pieces) for group in plan.groups]


def exact_fold_weights(
    plan: FoldPlan, atoms: Atoms, shape: Callable[[Tensor], Tensor], window: WindowSpectrum
) -> list[Tensor]:
    """Return the matrices of any atoms: by FFT of their samples where the table is not exact.

    That is for windows that do not vanish at their ends, for atoms of few samples, and for
    decimated ones.

    Args:
        plan: The sizes.
        atoms: The atoms, in float64 on the CPU.
        shape: The window, see :func:`~sonograd.functional.window_shape`.
        window: Its spectrum.

    Returns:
        ``(frames, rows, bins)``, or ``(frames, rows, 2 * bins)`` if the plan is decimated, where
        imaginary parts follow the real ones.
    """
    weights = []
    for group in plan.groups:
        members = _members(atoms, group)
        smooth = window.continuous and float(members.lengths.min()) > 32
        if smooth and not plan.decimated:
            weights.append(_group_weights(plan, group, members, window.pieces))
        else:
            weights.append(_sampled_weights(plan, group, members, shape))
    return weights


def _members(atoms: Atoms, group: FoldGroup) -> Atoms:
    return Atoms(*(field[group.first : group.stop] for field in atoms))


def _frequencies(plan: FoldPlan, group: FoldGroup, like: Tensor) -> Tensor:
    """Cycles per sample of all points of the group's rows, ``(rows * frames, 1)``."""
    index = torch.arange(group.rows * plan.frames, device=like.device)
    index = index + group.first_row * plan.frames
    return index.to(like.dtype)[:, None] / (plan.hop_length * plan.frames)


def _group_weights(plan: FoldPlan, group: FoldGroup, atoms: Atoms, pieces: Tensor) -> Tensor:
    offset = _frequencies(plan, group, atoms.lengths) - atoms.frequencies
    total, norm = torch.zeros_like(offset), torch.zeros_like(atoms.lengths)
    for alias in range(-group.aliases, group.aliases + 1):
        total = total + evaluate_pieces(pieces, atoms.lengths * (offset + alias))
        norm = norm + evaluate_pieces(pieces, atoms.lengths * alias)
    return _as_matrices(total * (atoms.scales / norm / plan.hop_length), plan)


def _as_matrices(rows: Tensor, plan: FoldPlan) -> Tensor:
    matrices: Tensor = rows.unflatten(0, (-1, plan.frames)).transpose(0, 1).contiguous()
    return matrices


def _sampled_weights(
    plan: FoldPlan, group: FoldGroup, atoms: Atoms, shape: Callable[[Tensor], Tensor]
) -> Tensor:
    size = plan.hop_length * plan.frames
    x = _frequencies(plan, group, atoms.lengths)
    index = torch.arange(group.rows * plan.frames, device="cpu") + group.first_row * plan.frames
    columns = []
    for values in zip(*atoms, strict=True):
        atom = Atoms(*values)
        first, points = sample_atom(atom, shape)
        if atom.frame_lengths > 0:
            first, points = _positive_part(first, points, int(atom.frame_lengths))
        length = size // int(atom.strides)
        frame = torch.zeros(length, dtype=torch.complex128, device="cpu")
        place = torch.arange(first, first + len(points), device="cpu") % length
        frame.index_add_(0, place, points)
        columns.append(torch.fft.fft(frame)[index % length].conj() / plan.hop_length)
    weights = torch.stack(columns, -1)
    if not plan.decimated:
        return _as_matrices(weights.real, plan)
    weights = weights * _decimation_gain(x.abs(), atoms.strides)
    return _as_matrices(torch.cat([weights.real, weights.imag], -1), plan)


def _decimation_gain(x: Tensor, strides: Tensor) -> Tensor:
    """Return the response of the filter before the atoms' rate.

    The filter of soxr at high quality passes 91.3% of the band, and falls as a raised cosine.
    """
    place = ((x * 2 * strides - 0.913) / (1 - 0.913)).clamp(0.0, 1.0)
    return (0.5 + 0.5 * torch.cos(math.pi * place)).where(strides > 1, 1.0)


def _positive_part(first: int, points: Tensor, length: int) -> tuple[int, Tensor]:
    """Remove negative frequencies from an atom in a frame of ``length`` points."""
    frame = torch.zeros(length, dtype=points.dtype, device="cpu")
    place = torch.arange(first, first + len(points), device="cpu") % length
    spectrum = torch.fft.fft(frame.index_add_(0, place, points))
    spectrum[length // 2 + 1 :] = 0
    return -(length // 2), torch.fft.ifft(spectrum).roll(length // 2)


def sample_atom(atom: Atoms, shape: Callable[[Tensor], Tensor]) -> tuple[int, Tensor]:
    """Return the number of the first point of one atom, and its points.

    Point ``n`` lies ``n * stride`` samples after the middle of the frame.
    """
    half = float(atom.lengths) / 2
    stride, center = float(atom.strides), float(atom.centers)
    first = math.floor((center - half) / stride + 1e-9) + 1
    last = math.ceil((center + half) / stride - 1e-9) - 1
    if atom.frame_lengths > 0:  # A periodic window has its first end; here time runs backwards.
        last = math.floor((center + half) / stride + 1e-9)
    n = torch.arange(first, last + 1, dtype=torch.float64, device="cpu")
    window = shape((n * stride - center) / float(atom.lengths))
    phase = 2 * math.pi * float(atom.frequencies) * n * stride
    return first, torch.polar(window * float(atom.scales) / window.sum(), phase)


def evaluate_pieces(pieces: Tensor, lobes: Tensor) -> Tensor:
    """Return the tabulated spectrum of a window at frequencies in lobes, differentiably."""
    position = lobes.abs() * 32
    index = position.detach().floor().clamp(max=len(pieces) - 1)
    t = position - index
    c0, c1, c2, c3 = pieces[index.long()].unbind(-1)
    value: Tensor = c0 + t * (c1 + t * (c2 + t * c3))
    return value


def fold(
    x: Tensor,
    weights: Sequence[Tensor],
    plan: FoldPlan,
    *,
    pad_mode: PadMode = "constant",
) -> Tensor:
    """Transform signals with the weights of :func:`fold_weights`.

    Args:
        x: Signals, ``(..., samples)``.
        weights: One matrix for each group, with the precision and device of ``x``.
        plan: The sizes that the weights were made for.
        pad_mode: What lies outside the signal, as in :func:`~sonograd.functional.stft`.

    Returns:
        ``(..., bins, frames)``, complex, with ``1 + samples // hop_length`` frames.
    """
    hop, size = plan.hop_length, plan.hop_length * plan.frames
    samples = x.shape[-1]
    frames = 1 + samples // hop
    step = plan.frames - 2 * plan.margin
    blocks = (frames + step - 1) // step
    if torch.compiler.is_exporting():
        blocks = blocks + 1  # A graph made with one block would take no more than one.
    before = plan.margin * hop
    after = (blocks - 1) * step * hop + size - before - samples
    if 0 in x.shape[:-1]:  # There is no FFT of nothing.
        dtype = torch.promote_types(x.dtype, torch.complex64)
        return x.new_zeros(*x.shape[:-1], plan.groups[-1].stop, frames, dtype=dtype)
    flat = x.reshape(math.prod(x.shape[:-1]), samples)

    def cut(signals: Tensor) -> Tensor:
        extended = extend(signals, -before, samples + after, pad_mode=pad_mode)
        return extended.unfold(-1, size, step * hop)

    kept = slice(plan.margin, plan.margin + step)
    if may_work_in_pieces(x, *weights):
        result = _fold_in_pieces(flat, cut, weights, plan, blocks)
    else:
        parts = _fold_blocks(cut(flat).reshape(-1, size), weights, plan)[..., kept]
        result = parts.unflatten(0, (-1, blocks)).transpose(1, 2).flatten(-2)
    result = excerpt(result, 0, frames)
    shaped: Tensor = result.reshape(*x.shape[:-1], plan.groups[-1].stop, frames)
    return shaped


def _fold_in_pieces(
    flat: Tensor,
    cut: Callable[[Tensor], Tensor],
    weights: Sequence[Tensor],
    plan: FoldPlan,
    blocks: int,
) -> Tensor:
    """Transform one signal after the other, a few blocks at a time, which stay in the cache."""
    step = plan.frames - 2 * plan.margin
    bins = plan.groups[-1].stop
    dtype = torch.promote_types(flat.dtype, torch.complex64)
    result = torch.empty(len(flat), bins, blocks, step, dtype=dtype, device=flat.device)
    limit = _SCRATCH if flat.device.type == "cpu" else 64 * _SCRATCH
    together = max(1, limit // (plan.frames * plan.hop_length))
    items = max(1, together // blocks)
    for item in range(0, len(flat), items):
        signals = cut(flat[item : item + items])
        for first in range(0, blocks, together):
            chosen = signals[:, first : first + together]
            parts = _fold_blocks(chosen.reshape(-1, chosen.shape[-1]), weights, plan)
            parts = parts[..., plan.margin : plan.margin + step]
            parts = parts.unflatten(0, chosen.shape[:2]).transpose(1, 2)
            result[item : item + items, :, first : first + together] = parts
    return result.flatten(-2)


def _fold_blocks(blocks: Tensor, weights: Sequence[Tensor], plan: FoldPlan) -> Tensor:
    """Transform ``(blocks, samples)`` to ``(blocks, bins, frames)``, wrapping at their ends."""
    first = min(group.first_row for group in plan.groups)
    stop = max(group.first_row + group.rows for group in plan.groups)
    spectrum = torch.fft.rfft(blocks)
    parts = list(_periodic(spectrum, first * plan.frames, stop * plan.frames, plan))
    if any(part.shape[1] % plan.frames for part in parts):
        parts = [torch.cat(parts, 1)]
    # For each point of the short spectrum a matrix (rows, blocks * 2).
    rows = [part.unflatten(1, (-1, plan.frames)).permute(2, 1, 0) for part in parts]
    points = torch.view_as_real(torch.cat(rows, 1).contiguous()).flatten(2)
    folded = []
    for group, matrix in zip(plan.groups, weights, strict=True):
        chosen = points.narrow(1, group.first_row - first, group.rows)
        product = torch.bmm(matrix.mT, chosen).unflatten(2, (-1, 2))
        if plan.decimated:
            by_real, by_imaginary = product.chunk(2, dim=1)
            turned = torch.stack([-by_imaginary[..., 1], by_imaginary[..., 0]], -1)
            product = by_real + turned
        folded.append(product)
    short = torch.view_as_complex(torch.cat(folded, 1)).permute(2, 1, 0)
    response: Tensor = torch.fft.ifft(short)
    return response


def _periodic(spectrum: Tensor, start: int, stop: int, plan: FoldPlan) -> Iterator[Tensor]:
    """Yield points ``start`` to ``stop`` of the two-sided, periodic spectrum of real blocks."""
    size = plan.hop_length * plan.frames
    half = (size + 1) // 2
    while start < stop:
        turn, place = divmod(start, size)
        if place < half:
            end = min(stop, turn * size + half)
            yield spectrum[:, place : place + end - start]
        else:
            end = min(stop, (turn + 1) * size)
            last = size - place
            mirrored = spectrum[:, last - (end - start) + 1 : last + 1]
            yield mirrored.flip(-1).conj().resolve_conj()
        start = end
