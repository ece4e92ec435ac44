"""The energies that BSS eval takes ratios of, frame by frame."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.functional._tracks import Track, frames_of
from sonograd.functional.bss_filters import Correlator, projection_filters
from sonograd.functional.convolution import fast_length

__all__ = ["Energies", "Filters", "Pairs", "energies_of_track", "filters_from"]

Pairs = tuple[tuple[int, int], ...]
"""Which estimates are compared with which references: ``(reference, estimate)``."""

_CHUNK = 2  # frames at once: more would fall out of the cache
_LONGEST = 1 << 17  # samples of a frame that is transformed as a whole
_SEGMENT = 1 << 15  # samples of a longer frame that are filtered at once


@dataclass
class Energies:
    r"""Sums of squares over channels and samples.

    Attributes:
        reference: Of :math:`s_j`, ``(references, frames)``.
        error: Of :math:`\hat s_i - s_j`, ``(references, estimates, frames)`` like all below.
        spatial: Of :math:`P_j \hat s_i - s_j`.
        filtered: Of :math:`P_j \hat s_i`.
        interference: Of :math:`P \hat s_i - P_j \hat s_i`.
        unfiltered: Of :math:`\hat s_i - P_j \hat s_i`.
        projected: Of :math:`P \hat s_i`, ``(estimates, frames)``.
        artifacts: Of :math:`\hat s_i - P \hat s_i`, ``(estimates, frames)``.
        silent: 1 where the channels of a reference or an estimate add up to nothing but zeros,
            ``(2, sources, frames)``.
        estimate: Of :math:`\hat s_i`, ``(estimates, frames)``.
    """

    reference: Tensor
    error: Tensor
    spatial: Tensor
    filtered: Tensor
    interference: Tensor
    unfiltered: Tensor
    projected: Tensor
    artifacts: Tensor
    silent: Tensor
    estimate: Tensor

    @classmethod
    def zeros(cls, sources: int, frames: int, device: torch.device) -> "Energies":
        """Start with silence; pairs that are never compared keep NaN."""
        few = torch.zeros(sources, frames, dtype=torch.float64, device=device)
        many = few.new_full((sources, sources, frames), torch.nan)
        return cls(
            reference=few,
            error=many,
            spatial=many.clone(),
            filtered=many.clone(),
            interference=many.clone(),
            unfiltered=many.clone(),
            projected=few.clone(),
            artifacts=few.clone(),
            silent=few.new_ones(2, sources, frames),
            estimate=few.clone(),
        )

    def put(self, frames: slice, part: "Energies") -> None:
        """Fill in ``frames``."""
        for entry in fields(self):
            getattr(self, entry.name)[..., frames] = getattr(part, entry.name)

    def add(self, part: "Energies") -> None:
        """Add another part of the same frame."""
        for entry in fields(self):
            mine, other = getattr(self, entry.name), getattr(part, entry.name)
            if entry.name == "silent":
                mine *= other
            else:
                mine += other


@dataclass(frozen=True)
class Filters:
    """Distortion filters: on all references, and on each of them alone.

    Attributes:
        whole: ``(channels of all references, channels of all estimates, taps)``.
        own: One for each reference, ``(channels, channels of the estimates it is compared with,
            taps)``.
    """

    whole: Tensor
    own: tuple[Tensor, ...]


def filters_from(lags: Tensor, pairs: Pairs, *, channels: int) -> Filters:
    """Solve for all filters, given the correlations of a :class:`Correlator`."""
    size, taps = lags.shape[0], (lags.shape[-1] + 1) // 2
    auto, cross = lags[:, :size], lags[:, size:, taps - 1 :]
    own = []
    for j in range(size // channels):
        mine = slice(j * channels, (j + 1) * channels)
        estimates = [i for reference, i in pairs if reference == j]
        columns = [i * channels + c for i in estimates for c in range(channels)]
        own.append(projection_filters(auto[mine, mine], cross[mine][:, columns]))
    return Filters(projection_filters(auto, cross), tuple(own))


def correlate(blocks: Iterable[Tensor], sources: int, channels: int, taps: int) -> Tensor:
    """Correlate references with references and estimates."""
    correlator: Correlator | None = None
    for block in blocks:
        if correlator is None:
            size = sources * channels
            correlator = Correlator(size, 2 * size, taps, block.device)
        correlator.feed(block.flatten(0, 2))
    assert correlator is not None
    return correlator.finish()


class _Spectra:
    """Filters as spectra, ready to be applied to frames or to segments of frames."""

    def __init__(
        self, filters: Filters, pairs: Pairs, *, window: int, part_of_longer: bool
    ) -> None:
        taps = filters.whole.shape[-1]
        self.n_fft = fast_length(window + taps - 1)
        self.n_fft += self.n_fft % 2
        self.pairs = pairs
        self.whole = torch.fft.rfft(filters.whole, n=self.n_fft)
        self.own = [torch.fft.rfft(own, n=self.n_fft) for own in filters.own]
        self.keep = slice(taps - 1, window) if part_of_longer else None
        weights = self.whole.real.new_full((self.n_fft // 2 + 1, 2), 2.0 / self.n_fft)
        weights[[0, -1]] /= 2
        self._weights = weights.flatten()

    def energy(self, spectrum: Tensor) -> Tensor:
        """Energy of ``(frames, bins)``; the spectrum is overwritten."""
        if self.keep is not None:
            signal: Tensor = torch.fft.irfft(spectrum, n=self.n_fft)[..., self.keep]
            return signal.square().sum(-1)
        squares = torch.view_as_real(spectrum).square_().flatten(1)
        energy: Tensor = squares @ self._weights
        return energy

    def measure(self, frames: Tensor) -> Energies:
        """Measure frames ``(2, sources, channels, frames, samples)``."""
        sources, channels, count = frames.shape[1:4]
        signals = frames if self.keep is None else frames[..., self.keep]
        part = _plain_energies(signals, self.pairs)
        x, y = torch.fft.rfft(frames.flatten(1, 2), n=self.n_fft)
        for i in range(sources):
            references = [j for j, estimate in self.pairs if estimate == i]
            totals = {j: x.real.new_zeros(4, count) for j in references}
            for c in range(channels):
                out = i * channels + c
                whole = _apply(x, self.whole[:, out])
                for j in references:
                    column = [estimate for ref, estimate in self.pairs if ref == j].index(i)
                    mine = x[j * channels : (j + 1) * channels]
                    own = _apply(mine, self.own[j][:, column * channels + c])
                    totals[j][0] += self.energy(own - mine[c])
                    totals[j][2] += self.energy(whole - own)
                    totals[j][3] += self.energy(y[out] - own)
                    totals[j][1] += self.energy(own)
                part.artifacts[i] += self.energy(y[out] - whole)
                part.projected[i] += self.energy(whole)
            for j, total in totals.items():
                part.spatial[j, i], part.filtered[j, i] = total[0], total[1]
                part.interference[j, i], part.unfiltered[j, i] = total[2], total[3]
        return part


def _apply(x: Tensor, filters: Tensor) -> Tensor:
    """Sum of ``x (signals, frames, bins)`` times ``filters (signals, bins)``."""
    y = x[0] * filters[0]
    for signal, response in zip(x[1:], filters[1:], strict=True):
        y.addcmul_(signal, response)
    return y


def _plain_energies(frames: Tensor, pairs: Pairs) -> Energies:
    """Energies that need no filter, of ``(2, sources, channels, frames, samples)``."""
    references, estimates = frames
    part = Energies.zeros(frames.shape[1], frames.shape[3], frames.device)
    part.reference = _sum_of_squares(references)
    part.estimate = _sum_of_squares(estimates)
    for j, i in pairs:
        part.error[j, i] = _sum_of_squares(estimates[i] - references[j])
    for kind, energy in enumerate((part.reference, part.estimate)):
        suspects = energy == 0
        if frames.shape[2] > 1:
            suspects = suspects | ~(frames[kind].sum(1) != 0).any(-1)
        part.silent[kind] = suspects.to(part.silent)
    return part


def _sum_of_squares(x: Tensor) -> Tensor:
    """Energy over channels and samples of ``(..., channels, frames, samples)``."""
    squares: Tensor = torch.linalg.vecdot(x, x)
    return squares.sum(-2)


def energies_of_track(
    track: Track, pairs: Pairs, *, window: int, hop: int, taps: int, filters: Filters | None
) -> Energies:
    """Measure every frame of a track.

    Args:
        track: Its length is known.
        pairs: What is compared.
        window: Samples of a frame, at most the length of the track.
        hop: Samples between frames.
        taps: Length of the filters.
        filters: Of the whole track (version 4), or None to find them for every frame (version 3).
    """
    samples = track.samples or 0
    count = (samples - window + hop) // hop if window < samples else 1
    result = Energies.zeros(track.sources, count, track.device)
    if window > _LONGEST:
        for t in range(count):
            start = t * hop
            result.put(slice(t, t + 1), _long_frame(track, start, window, pairs, taps, filters))
        return result
    spectra = None
    if filters is not None:
        spectra = _Spectra(filters, pairs, window=window, part_of_longer=False)
    chunk = _CHUNK if spectra is not None else 1
    done = 0
    for views in frames_of(track.read(), window=window, hop=hop, count=count, chunk=chunk):
        frames = views.contiguous()
        use = spectra
        if use is None:
            lags = correlate([frames[..., 0, :]], *track.layout, taps)
            own = filters_from(lags, pairs, channels=track.channels)
            use = _Spectra(own, pairs, window=window, part_of_longer=False)
        result.put(slice(done, done + frames.shape[3]), use.measure(frames))
        done += frames.shape[3]
    return result


def _long_frame(
    track: Track, start: int, window: int, pairs: Pairs, taps: int, filters: Filters | None
) -> Energies:
    """Measure one frame in segments that overlap by the length of the filters."""
    if filters is None:
        lags = correlate(track.read(start, start + window), *track.layout, taps)
        filters = filters_from(lags, pairs, channels=track.channels)
    edge = taps - 1
    segments = -(-(window + edge) // _SEGMENT)
    spectra = _Spectra(filters, pairs, window=_SEGMENT + edge, part_of_longer=True)

    def padded() -> Iterable[Tensor]:
        like = torch.zeros(2, *track.layout, edge, dtype=torch.float64, device=track.device)
        yield like
        yield from track.read(start, start + window)
        yield pad(like, (0, segments * _SEGMENT - window - edge))

    total = Energies.zeros(track.sources, 1, track.device)
    total.error.zero_()
    for entry in (total.spatial, total.filtered, total.interference, total.unfiltered):
        entry.zero_()
    for frames in frames_of(
        padded(), window=_SEGMENT + edge, hop=_SEGMENT, count=segments, chunk=_CHUNK
    ):
        part = spectra.measure(frames.contiguous())
        total.add(_join(part))
    return total


def _join(part: Energies) -> Energies:
    """Add up segments."""
    joined = {}
    for entry in fields(part):
        value = getattr(part, entry.name)
        joined[entry.name] = (value.amin if entry.name == "silent" else value.sum)(-1, True)
    return Energies(**joined)
