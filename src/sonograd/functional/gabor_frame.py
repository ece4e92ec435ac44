r"""A non-stationary Gabor frame: windows on the spectrum whose squares sum to one.

The edges :math:`e_0 < e_1 < \dots` are points of the spectrum of a signal of :math:`M` samples.
From each edge to the next one band fades out as a cosine while the following fades in as a sine:

.. math::
    w_k[m] = \cos\left(\frac{\pi}{2} \frac{m - e_k}{e_{k+1} - e_k}\right), \quad
    w_{k+1}[m] = \sin\left(\frac{\pi}{2} \frac{m - e_k}{e_{k+1} - e_k}\right), \qquad
    e_k \le m < e_{k+1}

Each band, an inverse FFT of what its window lets through, is sampled at least as fast as it is
wide. So nothing is lost, the frame is tight, and the inverse is the adjoint: exact, for any signal.

Balazs et al., *Theory, implementation and applications of nonstationary Gabor frames*,
doi:10.1016/j.cam.2011.09.011; in slices: Holighaus et al., *A framework for invertible, real-time
constant-Q transforms*, doi:10.1109/TASL.2012.2234114.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf
from torch.utils import _pytree as pytree

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.convolution import fast_length
from sonograd.functional.framing import excerpt

__all__ = [
    "GaborBand",
    "GaborFrame",
    "GaborSpectrum",
    "cut_slices",
    "gabor_analysis",
    "gabor_frame",
    "gabor_layout",
    "gabor_synthesis",
    "join_slices",
    "slice_count",
    "slice_window",
    "whole_size",
]


class GaborSpectrum(NamedTuple):
    """Coefficients of all bands.

    A sinusoid of amplitude 1 at the center of a band measures 1, whatever the rate of the band.
    """

    low: Tensor
    """What lies below the bins: a real signal at a low rate, ``(..., frames)``."""
    octaves: tuple[Tensor, ...]
    """Complex, ``(..., bins, frames)`` for each group of bins from the lowest up, which share a
    rate."""
    high: Tensor
    """What lies above the bins, mirrored down: a real signal at a low rate, ``(..., frames)``."""
    samples: int
    """Length of the signal."""


# So that an exported graph that returns one can be saved.
pytree._register_namedtuple(GaborSpectrum, serialized_type_name="sonograd.functional.GaborSpectrum")


class GaborBand(NamedTuple):
    """Bins that share a rate."""

    bins: int
    frames: int
    points: Tensor
    """Points of the spectrum in the order of the band's own, ``(bins * frames,)``."""
    windows: Tensor
    """What they are multiplied with, ``(bins, frames)``."""


class GaborFrame(NamedTuple):
    """Everything about signals of one length."""

    size: int
    low_window: Tensor
    low_frames: int
    bands: tuple[GaborBand, ...]
    high_window: Tensor
    high_frames: int
    places: Tensor
    """For each point of the spectrum, where in the spectra of all bands, one after the other, it
    is in the band that fades out there, and in the one that fades in, ``(2, size // 2 + 1)``."""
    weights: Tensor
    """What it is multiplied with in either, ``(2, size // 2 + 1)``."""

    @property
    def redundancy(self) -> float:
        """Real numbers in the coefficients for each sample."""
        complex_numbers = sum(band.bins * band.frames for band in self.bands)
        return (2 * complex_numbers + self.low_frames + self.high_frames) / self.size

    def to(self, like: Tensor) -> "GaborFrame":
        """Return the frame with the precision and device of ``like``, which may be complex."""

        def move(table: Tensor) -> Tensor:
            dtype = like.dtype.to_real() if table.is_floating_point() else table.dtype
            return table.to(device=like.device, dtype=dtype)

        return self._replace(
            low_window=move(self.low_window),
            bands=tuple(
                band._replace(points=move(band.points), windows=move(band.windows))
                for band in self.bands
            ),
            high_window=move(self.high_window),
            places=move(self.places),
            weights=move(self.weights),
        )


class GaborLayout(NamedTuple):
    """Where the bins of a frame lie, and how high their rates are."""

    edges: list[int]
    """Points of the spectrum, see :func:`gabor_frame`."""
    low_frames: int
    bands: list[tuple[range, int]]
    """The numbers of the bins that share a rate, and their frames, from the lowest up."""
    high_frames: int


def whole_size(samples: int) -> int:
    """Return the length, even and fast, at which a signal is transformed as a whole."""
    return 2 * fast_length(max(1, (samples + 1) // 2))


def gabor_layout(
    frequencies: Sequence[float], *, sample_rate: float, size: int, group: int
) -> GaborLayout:
    """Lay out the bins of :func:`gabor_frame`, which has the same arguments."""
    half = size // 2
    edges = [min(max(round(f * (size / sample_rate)), 1), half) for f in frequencies]
    last = len(edges) - 1  # Bins are 1 to last - 1, 0 is what lies below, last what lies above.
    bands = []
    for stop in range(last, 1, -group):
        numbers = range(max(1, stop - group), stop)
        widths = (edges[number + 1] - edges[number - 1] for number in numbers)
        bands.append((numbers, fast_length(max(1, *widths))))
    bands.reverse()
    high_frames = 2 * fast_length(half - edges[last - 1] + 1)
    return GaborLayout(edges, 2 * fast_length(edges[1]), bands, high_frames)


def gabor_frame(
    frequencies: Sequence[float], *, sample_rate: float, size: int, group: int
) -> GaborFrame:
    """Design the frame for signals of ``size`` samples, in float64.

    Args:
        frequencies: Rising edges in Hz. The first is where the first bin begins, the last where
            the last one ends, and each one between is the center of a bin.
        sample_rate: Samples per second.
        size: Samples of the signals, an even number.
        group: Bins that share a rate, counted from the highest down.

    Raises:
        ParameterError: If ``size`` is odd, ``group`` below 1, or there are less than three edges.
    """
    if size < 2 or size % 2 or group < 1 or len(frequencies) < 3:
        raise ParameterError(
            f"size is {size}, group {group}, and there are {len(frequencies)} frequencies; "
            "expected an even number, at least 1 and at least 3"
        )
    half = size // 2
    limits, low_frames, groups, high_frames = gabor_layout(
        frequencies, sample_rate=sample_rate, size=size, group=group
    )
    edges = torch.tensor(limits, device="cpu")
    last = len(edges) - 1
    index = torch.arange(half + 1, device="cpu")
    region = torch.searchsorted(edges, index, right=True)
    falling, rising = (region - 1).clamp(min=0), region.clamp(max=last)
    start, stop = edges[falling], edges[rising]
    share = (index - start).double() / (stop - start).clamp(min=1)
    angle = math.pi / 2 * share.where((region > 0) & (region <= last), 0.0)
    fades = torch.stack([angle.cos(), angle.sin()])

    first, top = limits[1], limits[last - 1]
    bands = [_band(numbers, limits, fades, frames, size) for numbers, frames in groups]
    offsets, rates = [0], [low_frames]
    place = low_frames // 2 + 1
    for band in bands:
        offsets.extend(range(place, place + band.bins * band.frames, band.frames))
        rates.extend([band.frames] * band.bins)
        place += band.bins * band.frames
    offsets.append(place)
    rates.append(high_frames)

    owners = torch.stack([falling, rising])
    rate = torch.tensor(rates, device="cpu")[owners]
    slot = torch.where(owners == last, half - index, index % rate)
    scale = torch.where((owners == 0) | (owners == last), 1.0, 0.5) * (size / rate.double())
    return GaborFrame(
        size,
        fades[0, :first] * (low_frames / size),
        low_frames,
        tuple(bands),
        torch.where(region[top:] > last, fades[0, top:], fades[1, top:]) * (high_frames / size),
        high_frames,
        torch.tensor(offsets, device="cpu")[owners] + slot,
        fades * scale,
    )


def _band(
    numbers: Sequence[int], limits: Sequence[int], fades: Tensor, frames: int, size: int
) -> GaborBand:
    points = torch.zeros(len(numbers), frames, dtype=torch.int64, device="cpu")
    windows = torch.zeros(len(numbers), frames, dtype=torch.float64, device="cpu")
    for row, number in enumerate(numbers):
        start, center, stop = limits[number - 1 : number + 2]
        index = torch.arange(start, stop, device="cpu")
        slot = index % frames
        points[row, slot] = index
        windows[row, slot] = torch.cat([fades[1, start:center], fades[0, center:stop]])
    return GaborBand(len(numbers), frames, points.flatten(), windows * (2 * frames / size))


def gabor_analysis(x: Tensor, frame: GaborFrame) -> GaborSpectrum:
    """Transform real signals ``(..., size)``."""
    if x.shape[-1] != frame.size:
        raise ShapeError(f"x has {x.shape[-1]} samples; this frame was made for {frame.size}")
    if 0 in x.shape:
        return _nothing(x, frame)
    spectrum = torch.fft.rfft(x)
    low = spectrum[..., : len(frame.low_window)] * frame.low_window
    high = spectrum[..., -len(frame.high_window) :].conj_physical() * frame.high_window
    octaves = []
    for band in frame.bands:
        chosen = spectrum.index_select(-1, band.points).unflatten(-1, (band.bins, band.frames))
        octaves.append(torch.fft.ifft(chosen * band.windows))
    return GaborSpectrum(
        torch.fft.irfft(low, n=frame.low_frames),
        tuple(octaves),
        torch.fft.irfft(high.flip(-1), n=frame.high_frames),
        frame.size,
    )


def _nothing(x: Tensor, frame: GaborFrame) -> GaborSpectrum:
    lead, dtype = x.shape[:-1], torch.promote_types(x.dtype, torch.complex64)
    return GaborSpectrum(
        x.new_zeros(*lead, frame.low_frames),
        tuple(x.new_zeros(*lead, band.bins, band.frames, dtype=dtype) for band in frame.bands),
        x.new_zeros(*lead, frame.high_frames),
        frame.size,
    )


def gabor_synthesis(spectrum: GaborSpectrum, frame: GaborFrame) -> Tensor:
    """Return the signals ``(..., size)`` with these coefficients; the inverse of the analysis.

    Of coefficients that no signal has, it is the signal nearest in the least-squares sense.
    """
    if 0 in spectrum.low.shape:
        return spectrum.low.new_zeros(*spectrum.low.shape[:-1], frame.size)
    parts = [torch.fft.rfft(spectrum.low)]
    parts.extend(torch.fft.fft(octave).flatten(-2) for octave in spectrum.octaves)
    parts.append(torch.fft.rfft(spectrum.high).conj_physical())
    values = torch.cat(parts, -1)
    falling = values.index_select(-1, frame.places[0]) * frame.weights[0]
    rising = values.index_select(-1, frame.places[1]) * frame.weights[1]
    signal: Tensor = torch.fft.irfft(falling + rising, n=frame.size)
    return signal


def slice_count(samples: int, *, size: int, overlap: int) -> int:
    """Return how many slices hold every sample of a signal."""
    step = size - overlap
    return (samples + overlap + step - 1) // step


def slice_window(size: int, overlap: int) -> Tensor:
    """Return a window whose squares, one every ``size - overlap`` samples, sum to one.

    In float64 on the CPU; it is 1 but for a quarter of a sine at either end.
    """
    if not 1 <= overlap <= size // 2:
        raise ParameterError(f"overlap is {overlap}; expected 1 to {size // 2}, half a slice")
    place = torch.arange(overlap, dtype=torch.float64, device="cpu") + 0.5
    window = torch.ones(size, dtype=torch.float64, device="cpu")
    window[:overlap] = torch.sin(math.pi / 2 * place / overlap)
    window[-overlap:] = window[:overlap].flip(0)
    return window


def cut_slices(x: Tensor, window: Tensor, *, overlap: int) -> Tensor:
    """Cut signals ``(..., samples)`` into windowed slices ``(..., slices, size)``.

    The first slice begins ``overlap`` samples before the signal, so that the window is 1 there.
    """
    size, samples = len(window), x.shape[-1]
    count = slice_count(samples, size=size, overlap=overlap)
    total = (count - 1) * (size - overlap) + size
    padded = nnf.pad(x, (overlap, total - overlap - samples))
    return padded.unfold(-1, size, size - overlap) * window


def join_slices(slices: Tensor, window: Tensor, *, overlap: int, samples: int) -> Tensor:
    """Return the signals ``(..., samples)`` that :func:`cut_slices` cut."""
    faded = slices * window
    step = len(window) - overlap
    body = faded[..., :step]
    tail = nnf.pad(faded[..., :-1, step:], (0, step - overlap, 1, 0))
    joined = nnf.pad((body + tail).flatten(-2), (0, overlap))
    return excerpt(joined, overlap, overlap + samples)
