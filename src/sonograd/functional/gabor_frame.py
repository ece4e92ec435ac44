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

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sonograd.errors import ParameterError
from sonograd.functional._half_transform import turns
from sonograd.functional.convolution import fast_length

__all__ = [
    "GaborBand",
    "GaborFrame",
    "GaborSpectrum",
    "GaborTables",
    "gabor_frame",
    "gabor_layout",
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

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """All tensors, from the lowest frequencies up."""
        return (self.low, *self.octaves, self.high)


# So that an exported graph that returns one can be saved.
pytree._register_namedtuple(GaborSpectrum, serialized_type_name="sonograd.functional.GaborSpectrum")


class GaborBand(NamedTuple):
    """Bins that share a rate."""

    first: int
    """The number of the lowest one."""
    bins: int
    frames: int


class GaborTables(NamedTuple):
    """Where every point goes to and comes from: for graphs, gradients and devices."""

    points: tuple[Tensor, ...]
    """Of each band, points of the spectrum in the order of its own, ``(bins * frames,)``."""
    windows: tuple[Tensor, ...]
    """What they are multiplied with, ``(bins, frames)``."""
    places: Tensor
    """For each point of the spectrum, where in the spectra of all bands, one after the other, it
    is in the band that fades out there, and in the one that fades in, ``(2, size // 2 + 1)``."""
    weights: Tensor
    """What it is multiplied with in either, ``(2, size // 2 + 1)``."""


class GaborFrame(NamedTuple):
    """Everything about signals of one length."""

    size: int
    edges: tuple[int, ...]
    """Points of the spectrum, see :func:`gabor_frame`."""
    low_frames: int
    bands: tuple[GaborBand, ...]
    high_frames: int
    low_window: Tensor
    """From point 0 to the first bin's center."""
    windows: Tensor
    """Half the windows of all bins, one after the other, each number twice: for the real and for
    the imaginary part."""
    high_window: Tensor
    """From the last bin's center to point ``size // 2``."""
    turns: Tensor
    """What the FFT of real signals is put together with."""
    high_turns: Tensor
    """The same for what lies above the bins."""
    tables: GaborTables | None = None

    @property
    def redundancy(self) -> float:
        """Real numbers in the coefficients for each sample."""
        complex_numbers = sum(band.bins * band.frames for band in self.bands)
        return (2 * complex_numbers + self.low_frames + self.high_frames) / self.size

    def edges_of(self, band: GaborBand, number: int) -> tuple[int, int, int]:
        """Return where a bin begins, is centered and ends; in its band, it is counted from 0."""
        start, center, stop = self.edges[band.first + number - 1 : band.first + number + 2]
        return start, center, stop

    def window_of(self, band: GaborBand, number: int) -> Tensor:
        """Return the part of ``windows`` for one bin, from where it begins to where it ends."""
        low, first, *_ = self.edges
        start, center, stop = self.edges_of(band, number)
        # All bins before have passed every point up to their centers twice.
        offset = 2 * (start - low + center - first)
        return self.windows[offset : offset + 2 * (stop - start)]

    def to(self, like: Tensor) -> "GaborFrame":
        """Return the frame with the precision and device of ``like``, which may be complex."""
        frame = self if like.device.type == "cpu" else self.indexed()

        def move(table: Tensor) -> Tensor:
            dtype = table.dtype
            if table.is_complex():
                dtype = like.dtype.to_complex()
            elif table.is_floating_point():
                dtype = like.dtype.to_real()
            return table.to(device=like.device, dtype=dtype)

        moved: GaborFrame = pytree.tree_map_only(Tensor, move, frame)
        return moved

    def indexed(self) -> "GaborFrame":
        """Return the frame with its tables."""
        return self if self.tables else self._replace(tables=_index_tables(self))


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
    frequencies: Sequence[float],
    *,
    sample_rate: float,
    size: int,
    group: int,
    dtype: torch.dtype = torch.float64,
) -> GaborFrame:
    """Design the frame for signals of ``size`` samples, on the CPU.

    Args:
        frequencies: Rising edges in Hz. The first is where the first bin begins, the last where
            the last one ends, and each one between is the center of a bin.
        sample_rate: Samples per second.
        size: Samples of the signals, an even number.
        group: Bins that share a rate, counted from the highest down.
        dtype: Precision of the windows, which are designed in float64.

    Raises:
        ParameterError: If ``size`` is odd, ``group`` below 1, or there are less than three edges.
    """
    if size < 2 or size % 2 or group < 1 or len(frequencies) < 3:
        raise ParameterError(
            f"size is {size}, group {group}, and there are {len(frequencies)} frequencies; "
            "expected an even number, at least 1 and at least 3"
        )
    edges, low_frames, groups, high_frames = gabor_layout(
        frequencies, sample_rate=sample_rate, size=size, group=group
    )
    rises, falls = [], []
    for start, stop in itertools.pairwise(edges):
        angle = _angles(stop - start)
        rises.append(angle.sin().to(dtype))
        falls.append(angle.cos().to(dtype))
    ones = torch.ones(max(edges[0], size // 2 + 1 - edges[-1]), dtype=dtype, device="cpu")
    windows = [part / 2 for k in range(1, len(rises)) for part in (rises[k - 1], falls[k])]
    return GaborFrame(
        size,
        tuple(edges),
        low_frames,
        tuple(GaborBand(numbers.start, len(numbers), frames) for numbers, frames in groups),
        high_frames,
        torch.cat([ones[: edges[0]], falls[0]]),
        torch.cat(windows).repeat_interleave(2),
        torch.cat([rises[-1], ones[: size // 2 + 1 - edges[-1]]]),
        turns(size).to(dtype.to_complex()),
        turns(high_frames).to(dtype.to_complex()),
    )


def _angles(points: int) -> Tensor:
    """From 0 to less than a right angle."""
    return torch.arange(points, dtype=torch.float64, device="cpu") * (math.pi / 2 / max(points, 1))


def _index_tables(frame: GaborFrame) -> GaborTables:
    half, dtype = frame.size // 2, frame.low_window.dtype
    edges = torch.tensor(frame.edges, device="cpu")
    last = len(edges) - 1
    index = torch.arange(half + 1, device="cpu")
    region = torch.searchsorted(edges, index, right=True)
    falling, rising = (region - 1).clamp(min=0), region.clamp(max=last)
    start, stop = edges[falling], edges[rising]
    share = (index - start).double() / (stop - start).clamp(min=1)
    angle = math.pi / 2 * share.where((region > 0) & (region <= last), 0.0)
    fades = torch.stack([angle.cos(), angle.sin()])

    points, windows = zip(*(_band_tables(band, frame, fades) for band in frame.bands), strict=True)
    offsets, rates = [0], [frame.low_frames]
    place = frame.low_frames // 2 + 1
    for band in frame.bands:
        offsets.extend(range(place, place + band.bins * band.frames, band.frames))
        rates.extend([band.frames] * band.bins)
        place += band.bins * band.frames
    offsets.append(place)
    rates.append(frame.high_frames)

    owners = torch.stack([falling, rising])
    rate = torch.tensor(rates, device="cpu")[owners]
    slot = torch.where(owners == last, half - index, index % rate)
    scale = torch.where((owners == 0) | (owners == last), 1.0, 0.5) * (frame.size / rate.double())
    return GaborTables(
        points,
        tuple(window.to(dtype) for window in windows),
        torch.tensor(offsets, device="cpu")[owners] + slot,
        (fades * scale).to(dtype),
    )


def _band_tables(band: GaborBand, frame: GaborFrame, fades: Tensor) -> tuple[Tensor, Tensor]:
    points = torch.zeros(band.bins, band.frames, dtype=torch.int64, device="cpu")
    windows = torch.zeros(band.bins, band.frames, dtype=torch.float64, device="cpu")
    for row in range(band.bins):
        start, center, stop = frame.edges[band.first + row - 1 : band.first + row + 2]
        index = torch.arange(start, stop, device="cpu")
        slot = index % band.frames
        points[row, slot] = index
        windows[row, slot] = torch.cat([fades[1, start:center], fades[0, center:stop]])
    return points.flatten(), windows * (2 * band.frames / frame.size)
