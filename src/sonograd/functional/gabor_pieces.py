"""Transforms by a Gabor frame bin after bin, where nothing follows the operations.

The window of a bin covers one run of points of the spectrum. In the bin's own spectrum it is one
run too, which wraps around its end at most once. So there are no tables of places, and all but the
spectrum of some signals and the result stays in the cache.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from sonograd.functional._half_transform import packed_spectrum, signal_of_packed
from sonograd.functional.gabor_frame import GaborBand, GaborFrame, GaborSpectrum

__all__ = ["Place", "analyze_in_pieces", "join_in_pieces", "synthesize_in_pieces"]

Place: TypeAlias = tuple[slice, slice]
"""Items, and rows of each; one row after the other in memory."""

_SAMPLES = 1 << 22  # of signals that are transformed together
_POINTS = 1 << 19  # of bins that are


def analyze_in_pieces(
    cut: Callable[[Place], Tensor], lead: tuple[int, int], like: Tensor, frame: GaborFrame
) -> GaborSpectrum:
    """Transform real signals.

    Args:
        cut: Returns those at a place, contiguous: ``(items, rows, size)``.
        lead: All items, and rows of each.
        like: A signal.
        frame: That of the signals.

    Returns:
        Coefficients with axes of items and rows.
    """
    dtype = like.dtype.to_complex()
    result = GaborSpectrum(
        like.new_empty(*lead, frame.low_frames),
        tuple(like.new_empty(*lead, band.bins, band.frames, dtype=dtype) for band in frame.bands),
        like.new_empty(*lead, frame.high_frames),
        frame.size,
    )
    for place in _places(*lead, frame.size):
        packed = packed_spectrum(cut(place).flatten(0, 1), frame.turns)
        for part, values in zip((result.low, result.high), _take_outer(packed, frame), strict=True):
            part[place].flatten(0, 1).copy_(values)
        for band, octave in zip(frame.bands, result.octaves, strict=True):
            _take_band(packed, band, frame, octave[place].flatten(0, 1))
    return result


def synthesize_in_pieces(spectrum: GaborSpectrum, frame: GaborFrame) -> Tensor:
    """Return the signals ``(items, rows, size)`` with coefficients of such leading axes."""
    lead = (spectrum.low.shape[0], spectrum.low.shape[1])
    places = list(_places(*lead, frame.size))
    if len(places) == 1:
        return _synthesize(spectrum, places[0], frame)
    result = spectrum.low.new_empty(*lead, frame.size)
    for place in places:
        result[place] = _synthesize(spectrum, place, frame)
    return result


def join_in_pieces(
    spectrum: GaborSpectrum, frame: GaborFrame, window: Tensor, *, overlap: int
) -> Tensor:
    """Return the signals of windowed slices: ``(items, slices * step)``, from the first slice on.

    What the last slice adds beyond is left out; it lies after the signal.
    """
    items, count = spectrum.low.shape[:2]
    step = frame.size - overlap
    result = spectrum.low.new_empty(items, count, step)
    tail = window.new_zeros(1, overlap)
    for place in _places(items, count, frame.size):
        slices = _synthesize(spectrum, place, frame).mul_(window)
        joined = result[place]
        joined.copy_(slices[..., :step])
        joined[:, 1:, :overlap] += slices[:, :-1, step:]
        if place[1].start:
            joined[:, 0, :overlap] += tail
        tail = slices[:, -1, step:]
    return result.flatten(1)


def _places(items: int, rows: int, size: int) -> Iterator[Place]:
    """Cut the work into runs of rows of one item, or into runs of items with all rows."""
    together = max(1, _SAMPLES // size)
    step = max(1, together // rows)
    for item in range(0, items, step):
        for first in range(0, rows, together):
            yield slice(item, min(item + step, items)), slice(first, min(first + together, rows))


def _runs(band: GaborBand, rows: int) -> Iterator[range]:
    """Cut the bins of a band, counted from 0, into runs that stay in the cache."""
    together = max(1, _POINTS // (rows * band.frames))
    for first in range(0, band.bins, together):
        yield range(first, min(first + together, band.bins))


def _pieces(bounds: Sequence[int], frames: int) -> Iterator[tuple[int, int, int]]:
    """Yield runs of points, and their first slots in a bin of so many frames."""
    for start, stop in itertools.pairwise(bounds):
        first = start
        while first < stop:
            slot = first % frames
            end = min(stop, first + frames - slot)
            yield first, end, slot
            first = end


def _take_band(packed: Tensor, band: GaborBand, frame: GaborFrame, octave: Tensor) -> None:
    """Write the coefficients ``(rows, bins, frames)`` of one band."""
    points = torch.view_as_real(packed).flatten(1)
    memory = None
    for bins in _runs(band, len(packed)):
        if memory is None:
            memory = packed.new_empty(len(packed), len(bins), band.frames)
        slots = memory[:, : len(bins)]
        for row, number in enumerate(bins):
            start, _, stop = frame.edges_of(band, number)
            window = frame.window_of(band, number)
            bin_ = torch.view_as_real(slots[:, row]).flatten(1)
            for first, end, slot in _pieces((start, stop), band.frames):
                torch.mul(
                    points[:, 2 * first : 2 * end],
                    window[2 * (first - start) : 2 * (end - start)],
                    out=bin_[:, 2 * slot : 2 * (slot + end - first)],
                )
            for first, end, slot in _pieces((stop, start + band.frames), band.frames):
                bin_[:, 2 * slot : 2 * (slot + end - first)] = 0
        octave[:, bins.start : bins.stop] = torch.fft.ifft(slots, norm="forward")


def _put_band(packed: Tensor, band: GaborBand, frame: GaborFrame, octave: Tensor) -> None:
    """Add the coefficients ``(rows, bins, frames)`` of one band, in the order of their bins.

    Where a bin rises, the one before it has been written; where it falls, nothing has.
    """
    points = torch.view_as_real(packed).flatten(1)
    for bins in _runs(band, len(packed)):
        slots = torch.fft.fft(octave[:, bins.start : bins.stop], norm="forward")
        for row, number in enumerate(bins):
            start, center, stop = frame.edges_of(band, number)
            window = frame.window_of(band, number)
            bin_ = torch.view_as_real(slots[:, row]).flatten(1)
            for first, end, slot in _pieces((start, center, stop), band.frames):
                place = points[:, 2 * first : 2 * end]
                weights = window[2 * (first - start) : 2 * (end - start)]
                values = bin_[:, 2 * slot : 2 * (slot + end - first)]
                if first < center:
                    place.addcmul_(values, weights)
                else:
                    torch.mul(values, weights, out=place)


def _take_outer(packed: Tensor, frame: GaborFrame) -> tuple[Tensor, Tensor]:
    """Return what lies below and above the bins."""
    below = packed[:, : len(frame.low_window)] * frame.low_window
    below.imag[:, 0] = 0
    low = torch.fft.irfft(below, n=frame.low_frames, norm="forward")
    count = len(frame.high_window)
    above = packed.new_zeros(len(packed), frame.high_frames // 2)
    above[:, 0] = packed[:, 0].imag
    mirrored = packed[:, frame.size // 2 + 1 - count :].flip(-1)
    torch.conj_physical(mirrored, out=above[:, 1:count])
    above[:, :count] *= frame.high_window.flip(0)
    return low / 4, signal_of_packed(above, frame.high_turns) / 4


def _synthesize(spectrum: GaborSpectrum, place: Place, frame: GaborFrame) -> Tensor:
    """Return the signals at a place, ``(items, rows, size)``."""
    lead = spectrum.low[place].shape[:2]
    low, high = spectrum.low[place].flatten(0, 1), spectrum.high[place].flatten(0, 1)
    half, top = frame.size // 2, frame.size // 2 + 1 - len(frame.high_window)
    packed = low.new_empty(len(low), half, dtype=low.dtype.to_complex())
    below = torch.fft.rfft(low, norm="forward")[:, : len(frame.low_window)] * frame.low_window
    packed[:, : below.shape[1]] = below
    for band, octave in zip(frame.bands, spectrum.octaves, strict=True):
        _put_band(packed, band, frame, octave[place].flatten(0, 1))
    above = packed_spectrum(high.contiguous(), frame.high_turns)[:, : half + 1 - top]
    above = above.conj_physical().flip(-1) * (frame.high_window / 4)
    shared = frame.edges[-1] - top
    packed[:, top : top + shared] += above[:, :shared]
    packed[:, top + shared :] = above[:, shared:-1]
    packed[:, 0] = torch.complex(packed[:, 0].real, above[:, -1].real)
    signals: Tensor = signal_of_packed(packed, frame.turns).unflatten(0, lead)
    return signals
