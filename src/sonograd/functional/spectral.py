"""The short-time Fourier transform and its inverse."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._settings import check_count, check_flag
from sonograd.functional._values import check_tensor
from sonograd.functional.framing import (
    PadMode,
    check_pad_mode,
    excerpt,
    frame_count,
    frame_signal,
    map_frames,
    may_work_in_pieces,
    pieces,
    store,
)
from sonograd.functional.windows import hann
from sonograd.shapes import check_floating

__all__ = ["PadMode", "istft", "overlap_add", "stft", "stft_map"]

_PERIODS = 1 << 16  # samples that are divided together


def stft(
    x: Tensor,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: PadMode = "reflect",
    pad_end: bool = False,
) -> Tensor:
    r"""Short-time Fourier transform, one-sided and without scaling.

    .. math::
        X[k, m] = \sum_{n=0}^{N-1} w[n] \, x[n + m H - c] \, e^{-2 \pi i k n / N}

    with :math:`c = \lfloor N / 2 \rfloor` if ``center``, else 0.

    Args:
        x: Signals, ``(..., samples)``, any number of samples; half precision is transformed in
            float32.
        n_fft: Length :math:`N` of the transform, even or odd.
        hop_length: Samples :math:`H` between frames; need not divide anything.
        win_length: Length of the window, at most ``n_fft``; it is centered in the frame.
        window: The window, ``(win_length,)``; a periodic Hann window if None.
        center: Frame ``m`` is centered at sample ``m * hop_length``, and the signal is padded by
            ``n_fft // 2`` at both ends. Otherwise frames start there and nothing is padded.
        pad_mode: What lies outside the signal: ``"reflect"`` mirrors it about its first and last
            sample, again and again where it is short (one sample repeats, no samples give
            zeros); ``"constant"`` is silence; ``"replicate"`` repeats the first and last sample;
            ``"circular"`` repeats the signal.
        pad_end: Add frames until one is centered at or after the last sample (without
            ``center``: until one ends there). Then :func:`istft` restores every sample equally
            well; without it, up to ``hop_length - 1`` samples at the end depend on the skirt of
            the last window, or on nothing.

    Returns:
        Complex spectra ``(..., bins, frames)``, ``bins = n_fft // 2 + 1``. For even ``n_fft`` and
        ``center``, ``frames = 1 + samples // hop_length``.

    Raises:
        ShapeError: If ``x`` is not floating point, or ``window`` is not ``(win_length,)``.
        ParameterError: If a length is out of range.

    >>> stft(torch.ones(8), n_fft=4, hop_length=4).abs()[0]
    tensor([2., 2., 2.])
    """
    check_floating(x)
    if x.ndim < 1:
        raise ShapeError("x has no axes; expected (..., samples)")
    check_pad_mode(pad_mode)
    check_flag("center", center)
    check_flag("pad_end", pad_end)
    if x.dtype in {torch.float16, torch.bfloat16}:
        x = x.float()
    window = _full_window(window, win_length, n_fft, hop_length, x)
    margins = _margins(x.shape[-1], n_fft, hop_length, center, pad_end)
    return stft_map(
        x, None, window=window, hop_length=hop_length, margins=margins, pad_mode=pad_mode
    ).mT


def stft_map(
    x: Tensor,
    then: Callable[[Tensor, Tensor | None], Tensor] | None,
    *,
    window: Tensor,
    hop_length: int,
    margins: tuple[int, int],
    pad_mode: PadMode,
    n_fft: int | None = None,
    features: int | None = None,
    dtype: torch.dtype | None = None,
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Transform windowed frames, and apply a function to every spectrum.

    Where neither gradients nor a graph are needed, this works on a few frames at a time.

    Args:
        x: Checked signals ``(..., samples)``.
        then: Takes spectra ``(..., bins)``, and a tensor ``(..., features)`` to write its result to
            and return, or None. If there is no function, spectra are the result.
        window: ``(frame_length,)``.
        hop_length: Samples between frames.
        margins: Samples before and after the signal.
        pad_mode: What they are.
        n_fft: Length of the transform, at least that of the window, which is the default.
        features: Numbers that ``then`` gives per frame; as many as bins if None.
        dtype: Their type; complex if None.
        parameters: What ``then`` depends on and gradients may be needed for.

    Returns:
        ``(..., frames, features)``.
    """
    length = window.shape[0]
    n_fft = length if n_fft is None else n_fft
    features = n_fft // 2 + 1 if features is None else features
    dtype = torch.promote_types(x.dtype, torch.complex32) if dtype is None else dtype
    before, after = margins
    count = frame_count(
        x.shape[-1], n_fft=length, hop_length=hop_length, before=before, after=after
    )
    if (count == 0 or x.numel() == 0) and not torch.compiler.is_compiling():
        return x.new_zeros(*x.shape[:-1], count, features, dtype=dtype)
    if not may_work_in_pieces(x, window, *parameters):
        frames = frame_signal(
            x, n_fft=length, hop_length=hop_length, before=before, after=after, pad_mode=pad_mode
        )
        spectrum: Tensor = torch.fft.rfft(frames * window, n_fft)
        return spectrum if then is None else then(spectrum, None)
    scratch: dict[int, Tensor] = {}

    def transform(frames: Tensor, out: Tensor | None) -> Tensor:
        rows = frames.shape[0]
        if rows not in scratch:
            scratch[rows] = frames.new_empty(rows, length)
        windowed = torch.mul(frames, window, out=scratch[rows])
        spectra: Tensor = torch.fft.rfft(windowed, n_fft)
        if then is not None:
            return then(spectra, out)
        return spectra if out is None else store(spectra, out)

    return map_frames(
        x,
        transform,
        n_fft=length,
        hop_length=hop_length,
        before=before,
        after=after,
        pad_mode=pad_mode,
        features=features,
        dtype=dtype,
        scratch=n_fft,
    )


def istft(
    spectrum: Tensor,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    length: int | None = None,
) -> Tensor:
    r"""Invert :func:`stft`: the signal whose transform is nearest in the least-squares sense.

    .. math::
        x[n] = \frac{\sum_m w[n - m H] \, x_m[n - m H]}{\sum_m w^2[n - m H]}

    Griffin and Lim, *Signal estimation from modified short-time Fourier transform*,
    doi:10.1109/TASSP.1984.1164317.

    Args:
        spectrum: Complex, ``(..., bins, frames)``.
        n_fft: As given to :func:`stft`.
        hop_length: As given to :func:`stft`.
        win_length: As given to :func:`stft`.
        window: As given to :func:`stft`.
        center: As given to :func:`stft`.
        length: Samples to return. If None, ``(frames - 1) * hop_length`` (one more for odd
            ``n_fft``) with ``center``, else all that the frames cover.

    Returns:
        Signals, ``(..., samples)``. Samples that no frame covers, or only zeros of the window,
        are 0.

    Raises:
        ShapeError: If ``spectrum`` is not complex or has another number of bins.
        ParameterError: If a length is out of range, or if the window leaves samples out in every
            hop, so that no signal can be restored.

    >>> x = torch.tensor([1.0, -2.0, 3.0])
    >>> istft(stft(x, n_fft=4, hop_length=1), n_fft=4, hop_length=1, length=3).round(decimals=4)
    tensor([ 1., -2.,  3.])
    """
    check_tensor(spectrum, "spectrum")
    check_count("n_fft", n_fft)
    check_flag("center", center)
    if spectrum.ndim < 2 or not spectrum.is_complex() or spectrum.shape[-2] != n_fft // 2 + 1:
        raise ShapeError(
            f"spectrum has shape {tuple(spectrum.shape)} and dtype {spectrum.dtype}; expected "
            f"complex (..., bins, frames) with {n_fft // 2 + 1} bins for n_fft {n_fft}"
        )
    if length is not None:
        check_count("length", length, least=0)
    window = _full_window(window, win_length, n_fft, hop_length, spectrum.real)
    floor = _envelope_floor(window, hop_length)
    frames = spectrum.shape[-1]
    start = n_fft // 2 if center else 0
    covered = (frames - 1) * hop_length + n_fft if frames else 0
    stop = max(covered - start, start) if length is None else start + length
    if spectrum.numel() == 0:
        return spectrum.real.new_zeros(*spectrum.shape[:-2], stop - start)
    if may_work_in_pieces(spectrum, window):
        flat = spectrum.reshape(-1, *spectrum.shape[-2:])
        joined = _join_in_pieces(flat, window, hop_length, start, stop)
        _even_out(joined, window, hop_length, frames, start, floor)
        return joined.reshape(*spectrum.shape[:-2], stop - start)
    parts = torch.fft.irfft(spectrum.mT, n=n_fft) * window
    # What lies behind the last frame is nothing. (One sample more keeps exported graphs general.)
    missing = torch.sym_max(stop - covered, 0) + 1
    signal = excerpt(nnf.pad(overlap_add(parts, hop_length=hop_length), (0, missing)), start, stop)
    squares = overlap_add(window.square().expand(frames, n_fft), hop_length=hop_length)
    envelope = excerpt(nnf.pad(squares, (0, missing)), start, stop)
    kept = envelope > floor
    return (signal / envelope.where(kept, 1.0)).where(kept, 0.0)


def _join_in_pieces(
    spectrum: Tensor, window: Tensor, hop_length: int, start: int, stop: int
) -> Tensor:
    """Add windowed frames of ``(items, bins, frames)``, a few at a time, from ``start`` on."""
    count, length = spectrum.shape[-1], len(window)
    joined = spectrum.real.new_zeros(len(spectrum), stop - start)
    for items, run in pieces(len(spectrum), count, length, spectrum.device):
        parts = torch.fft.irfft(spectrum[items, :, run].mT, n=length).mul_(window)
        part = overlap_add(parts, hop_length=hop_length)
        first = run.start * hop_length
        begin, end = max(first, start), min(first + part.shape[-1], stop)
        if begin < end:
            joined[items, begin - start : end - start] += part[:, begin - first : end - first]
    return joined


def _even_out(
    joined: Tensor, window: Tensor, hop_length: int, frames: int, start: int, floor: Tensor
) -> None:
    """Divide added frames, in place, by the sum of squared windows where that is above the floor.

    Between the first and the last few frames it has the period of the hop.
    """
    reach = -(-len(window) // hop_length)
    few = window.square().expand(min(frames, 2 * reach), -1)
    envelope = overlap_add(few, hop_length=hop_length)
    inverse = torch.where(envelope > floor, 1 / envelope.where(envelope > floor, 1.0), 0.0)

    def scale(origin: int, end: int, factors: Tensor) -> None:
        for first in range(origin, end, max(len(factors), 1)):
            begin = max(first, start)
            stop = min(first + len(factors), end, start + joined.shape[-1])
            if begin < stop:
                joined[:, begin - start : stop - start] *= factors[begin - first : stop - first]

    if frames <= 2 * reach:
        scale(0, len(inverse), inverse)
        return
    steady, last = reach * hop_length, frames * hop_length
    scale(0, steady, inverse[:steady])
    period = inverse[steady : steady + hop_length]
    scale(steady, last, period.repeat(1 + _PERIODS // hop_length))
    scale(last, last + len(inverse) - 2 * steady, inverse[2 * steady :])


def overlap_add(frames: Tensor, *, hop_length: int) -> Tensor:
    """Add frames that start every ``hop_length`` samples.

    Args:
        frames: ``(..., frames, frame_length)``, at least one frame.
        hop_length: Samples between the starts of frames.

    Returns:
        ``(..., (frames - 1) * hop_length + frame_length)``.

    >>> overlap_add(torch.ones(3, 4), hop_length=2)
    tensor([1., 1., 2., 2., 2., 2., 1., 1.])
    """
    count, length = frames.shape[-2:]
    if hop_length < 1 or count < 1:
        raise ParameterError(
            f"hop_length is {hop_length} and there are {count} frames; expected at least 1 each"
        )
    steps = -(-length // hop_length)
    blocks = nnf.pad(frames, (0, steps * hop_length - length)).unflatten(-1, (steps, hop_length))
    total = frames.new_zeros(*frames.shape[:-2], count + steps - 1, hop_length)
    for step in range(steps):
        total[..., step : step + count, :] += blocks[..., step, :]
    return total.flatten(-2)[..., : (count - 1) * hop_length + length]


def _full_window(
    window: Tensor | None, win_length: int | None, n_fft: int, hop_length: int, like: Tensor
) -> Tensor:
    """Return the window, centered in a frame of ``n_fft`` samples, with type and place of ``like``.

    An odd remainder puts the extra zero after the window.
    """
    check_count("n_fft", n_fft)
    check_count("hop_length", hop_length)
    if window is not None:
        check_tensor(window, "window")
    if win_length is None:
        win_length = n_fft if window is None else window.shape[-1]
    check_count("win_length", win_length)
    if win_length > n_fft:
        raise ParameterError(f"win_length is {win_length}; expected 1 to n_fft ({n_fft})")
    if window is None:
        window = hann(win_length, dtype=like.dtype, device=like.device)
    if window.shape != (win_length,):
        raise ShapeError(f"window has shape {tuple(window.shape)}; expected ({win_length},)")
    before = (n_fft - win_length) // 2
    window = window.to(dtype=like.dtype, device=like.device)
    return nnf.pad(window, (before, n_fft - win_length - before))


def _envelope_floor(window: Tensor, hop_length: int) -> Tensor:
    """Return the level below which squared windows do not count; refuse what has no inverse."""
    squares = window.detach().square()
    rest = -squares.shape[0] % hop_length
    steady = nnf.pad(squares, (0, rest)).unflatten(0, (-1, hop_length)).sum(0)
    highest = steady.max()
    # A compiled graph has no place for a decision about values.
    if not torch.compiler.is_compiling() and not steady.min() > 1e-10 * highest:
        raise ParameterError(
            f"hop_length is {hop_length}, too long for this window: it leaves out "
            f"{int((~(steady > 1e-10 * highest)).sum())} samples of every hop, which nothing can "
            "restore. Use a shorter hop, often a quarter of the window."
        )
    floor: Tensor = 1e-11 * highest
    return floor


def _margins(
    samples: int, n_fft: int, hop_length: int, center: bool, pad_end: bool
) -> tuple[int, int]:
    """Return the samples to add before and after the signal."""
    before = after = n_fft // 2 if center else 0
    if pad_end:
        last = max(samples - 1, 0) if center else max(samples - n_fft, 0)
        start = -(-last // hop_length) * hop_length
        after = max(start + n_fft - before - samples, after if center else 0)
    return before, after
