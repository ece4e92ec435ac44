"""A constant-Q transform from which the signal comes back: exact, whole or block by block."""

import math

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends.base import FrontEnd, check_counts, check_flags, check_numbers, check_signal
from sonograd.frontends.gabor_streams import AnalysisStream, SynthesisStream
from sonograd.frontends.tables import Tables
from sonograd.functional._settings import check_count
from sonograd.functional.constant_q import C1_HZ, constant_q_bins
from sonograd.functional.convolution import fast_length
from sonograd.functional.gabor_frame import (
    GaborFrame,
    GaborSpectrum,
    gabor_frame,
    whole_size,
)
from sonograd.functional.gabor_operators import analyze_whole, synthesize_whole
from sonograd.functional.gabor_transform import (
    check_spectrum,
    gabor_analysis,
    gabor_synthesis,
    in_pieces,
    slice_count,
    slice_window,
    sliced_analysis,
    sliced_synthesis,
)

__all__ = ["InvertibleConstantQ"]

_KEPT_FRAMES = 4


class InvertibleConstantQ(FrontEnd, Tables):
    r"""Constant-Q transform with an exact inverse, for any signal.

    A non-stationary Gabor frame, see :func:`~sonograd.functional.gabor_frame`: the window of a bin
    lies on the spectrum between the centers of its neighbors, and the bins of an octave share a
    rate that just holds them. What lies below and above the bins is kept as well, so that
    ``inverse(layer(x))`` is ``x``, to rounding, whatever ``x`` is. Two modes:

    - whole signal, by default: one transform of everything. There are less than 3 real numbers for
      each sample of signals longer than about a second, at 12 bins per octave (more for short
      signals and for more bins, see :meth:`redundancy`); the signal is taken as periodic, so that
      its end touches its beginning. Windows depend on the length of the signal: an exported graph
      calls an operator of this package, so that it is to be imported where the graph is loaded.
    - sliced, with ``sliced=True``: slices of fixed length that overlap and fade into each other,
      for signals of any length and for streams (:meth:`stream`). With the overlap of a quarter
      there are a third more numbers, at most 4 for each sample. Coefficients get an axis of slices
      before the bins. An exported graph takes signals of two slices or more.

    The result is a :class:`~sonograd.functional.GaborSpectrum`: a tensor for each octave.

    Attributes:
        slice_length: Samples in a slice, or None.
        overlap: Samples that a slice shares with the next.
    """

    first_frequencies: Tensor
    slice_window: Tensor

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        fmin: float = C1_HZ,
        fmax: float | None = None,
        n_bins: int | None = None,
        bins_per_octave: int = 12,
        sliced: bool = False,
        slice_length: int | None = None,
        overlap: int | None = None,
    ) -> None:
        """Lay out the bins and, for slices, design the frame.

        Args:
            sample_rate: Samples per second.
            fmin: Frequency of the lowest bin in Hz.
            fmax: The highest frequency in Hz, in place of ``n_bins``.
            n_bins: How many bins. By default, without ``fmax`` too, as many as have room for their
                upper neighbor below half the sample rate.
            bins_per_octave: Bins per doubling of the frequency.
            sliced: Work in slices.
            slice_length: Samples in a slice, an even number; by default eight periods of the
                lowest bin's bandwidth, rounded up to a length for fast FFTs.
            overlap: Samples that a slice shares with the next, up to half of it; by default a
                quarter.

        Raises:
            ParameterError: If a number is out of range, or the highest bin lies above half the
                sample rate.
        """
        super().__init__(sample_rate=sample_rate)
        check_counts(bins_per_octave=bins_per_octave)
        check_numbers(fmin=fmin)
        check_flags(sliced=sliced)
        if fmax is None and n_bins is None and 0 < fmin < sample_rate / 2:
            room = bins_per_octave * math.log2(sample_rate / 2 / fmin)
            n_bins = max(1, math.floor(room + 1e-9))
        bins = constant_q_bins(
            sample_rate=sample_rate,
            fmin=fmin,
            fmax=fmax,
            n_bins=n_bins,
            bins_per_octave=bins_per_octave,
        )
        self.bins_per_octave = bins_per_octave
        self.add_table("first_frequencies", bins.frequencies)
        ratio = 2 ** (1 / bins_per_octave)
        lowest, highest = float(bins.frequencies[0]), float(bins.frequencies[-1])
        self._edges = [lowest / ratio, *bins.frequencies.tolist(), highest * ratio]
        self._settings = (self._edges, float(sample_rate), bins_per_octave)
        self._frames: dict[tuple[int, torch.dtype, torch.device], GaborFrame] = {}
        self.slice_length: int | None = None
        self.overlap = 0
        if sliced:
            self._prepare_slices(slice_length, overlap)
        elif slice_length is not None or overlap is not None:
            raise ParameterError(
                f"slice_length is {slice_length} and overlap {overlap}, but sliced is False; "
                "pass sliced=True"
            )

    def _prepare_slices(self, slice_length: int | None, overlap: int | None) -> None:
        if slice_length is None:
            width = self._edges[2] - self._edges[0]
            slice_length = 8 * fast_length(math.ceil(self.sample_rate / width))
        check_counts(slice_length=slice_length)
        if slice_length < 4 or slice_length % 2:
            raise ParameterError(
                f"slice_length is {slice_length}; expected an even number, at least 4"
            )
        self.overlap = slice_length // 4 if overlap is None else overlap
        check_count("overlap", self.overlap, least=0)
        self.slice_length = slice_length
        self.add_table("slice_window", slice_window(slice_length, self.overlap))
        self.frame(slice_length, torch.zeros((), dtype=torch.float32, device="cpu"))

    @property
    def frequencies(self) -> Tensor:
        """Center frequencies in Hz, ``(bins,)``."""
        return self.first_frequencies

    def redundancy(self, samples: int | None = None) -> float:
        """Return how many real numbers there are for each sample.

        Args:
            samples: Length of the signal; needed unless the layer works in slices, for which this
                is the limit for long signals.
        """
        if self.slice_length is not None:
            frame = self.frame(self.slice_length, self.first_frequencies)
            return frame.redundancy * frame.size / (frame.size - self.overlap)
        if samples is None:
            raise ParameterError("samples is None; expected the length of a signal")
        check_count("samples", samples)
        frame = self.frame(whole_size(samples), self.first_frequencies)
        return frame.redundancy * frame.size / samples

    def forward(self, x: Tensor) -> GaborSpectrum:  # type: ignore[override]
        """Transform signals ``(..., samples)``.

        Returns:
            The coefficients of every octave, ``(..., bins, frames)``, or in slices
            ``(..., slices, bins, frames)``, and of what lies below and above.

        Raises:
            ShapeError: If ``x`` is a scalar, or not real and floating-point.
            ParameterError: If a sample is NaN or infinite.
        """
        x = check_signal(x)
        samples = x.shape[-1]
        if self.slice_length is not None:
            frame, window = self.frame(self.slice_length, x), self.table("slice_window", x)
            spectrum = sliced_analysis(x, frame, window, overlap=self.overlap)
            return spectrum._replace(samples=samples)
        if torch.compiler.is_exporting():
            return analyze_whole(x, self._settings)
        size = whole_size(samples)
        frame = self.frame(size, x, indexed=not in_pieces(x))
        return gabor_analysis(nnf.pad(x, (0, size - samples)), frame)._replace(samples=samples)

    def inverse(self, spectrum: GaborSpectrum, length: int | None = None) -> Tensor:
        """Return the signals with these coefficients, ``(..., samples)``.

        If the coefficients have been changed, it is the signal nearest to them in the least-squares
        sense (in slices: slice by slice).

        Args:
            spectrum: What :meth:`forward` gave, or the same with other values.
            length: Samples to return, cut or filled with zeros; those of the signal, if None.

        Raises:
            ShapeError: If the coefficients are not those of a layer like this one.
            ParameterError: If ``length`` is negative, or a value is not finite.
        """
        check_spectrum(spectrum)
        samples = spectrum.samples
        if length is not None:
            check_count("length", length, least=0)
        signal = self._synthesize(spectrum)
        return signal if length is None else nnf.pad(signal, (0, length - samples))

    def _synthesize(self, spectrum: GaborSpectrum) -> Tensor:
        samples = spectrum.samples
        if self.slice_length is None and torch.compiler.is_exporting():
            return synthesize_whole(spectrum, self._settings)
        indexed = self.slice_length is None and not in_pieces(*spectrum.parts)
        size = self.slice_length or whole_size(samples)
        frame = self.frame(size, spectrum.low, indexed=indexed)
        self._check(spectrum, frame)
        if self.slice_length is None:
            return gabor_synthesis(spectrum, frame)[..., :samples]
        window = self.table("slice_window", spectrum.low)
        return sliced_synthesis(spectrum, frame, window, overlap=self.overlap)

    def magnitudes(self, spectrum: GaborSpectrum, *, frames: int) -> Tensor:
        """Return magnitudes on one raster for all bins, to be looked at.

        Args:
            spectrum: What :meth:`forward` gave.
            frames: How many, evenly spaced from the beginning of the signal to its end.

        Returns:
            ``(..., bins, frames)``: of each bin the coefficient nearest in time.

        Raises:
            ShapeError: If the coefficients are not those of a layer like this one.
            ParameterError: If there are no frames, or a value is not finite.
        """
        check_counts(frames=frames)
        check_spectrum(spectrum)
        size = self.slice_length or whole_size(spectrum.samples)
        self._check(spectrum, self.frame(size, spectrum.low))
        device = spectrum.low.device
        time = (torch.arange(frames, device=device) + 0.5) * (spectrum.samples / frames)
        if self.slice_length is None:
            share = time / size
            return torch.cat(
                [
                    octave[..., (share * octave.shape[-1]).long()].abs()
                    for octave in spectrum.octaves
                ],
                -2,
            )
        step = size - self.overlap
        number = ((time + self.overlap / 2) / step).long()
        place = time + self.overlap - number * step
        fade = self.table("slice_window", spectrum.low)[place.long()]
        rows = []
        for octave in spectrum.octaves:
            flat = octave.abs().transpose(-3, -2).flatten(-2)
            position = (place * (octave.shape[-1] / size)).long()
            rows.append(flat[..., number * octave.shape[-1] + position] / fade)
        return torch.cat(rows, -2)

    def stream(self) -> AnalysisStream:
        """Begin to transform a signal that arrives in blocks; the layer must work in slices."""
        return AnalysisStream(self)

    def inverse_stream(self) -> SynthesisStream:
        """Begin to restore a signal from slices that arrive one after the other."""
        return SynthesisStream(self)

    def frame(self, size: int, like: Tensor, *, indexed: bool = False) -> GaborFrame:
        """Return the frame for signals of ``size`` samples; the latest few are kept."""
        dtype = like.dtype.to_real() if like.is_complex() else like.dtype
        key = (size, dtype, like.device)
        if key not in self._frames or (indexed and self._frames[key].tables is None):
            self._design_frame(key, like, indexed)
        return self._frames[key]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _design_frame(
        self, key: tuple[int, torch.dtype, torch.device], like: Tensor, indexed: bool
    ) -> None:
        size, dtype, _ = key
        frame = gabor_frame(
            self._edges,
            sample_rate=self.sample_rate,
            size=size,
            group=self.bins_per_octave,
            dtype=dtype,
        )
        if indexed or self.slice_length is not None:
            frame = frame.indexed()
        self._frames.pop(key, None)
        while len(self._frames) >= _KEPT_FRAMES:
            del self._frames[next(iter(self._frames))]
        self._frames[key] = frame.to(like)

    def check_frames(self, spectrum: GaborSpectrum, frame: GaborFrame) -> None:
        """Refuse coefficients of other bins or frames than those of ``frame``."""
        got = [tuple(octave.shape[-2:]) for octave in spectrum.octaves]
        expected = [(band.bins, band.frames) for band in frame.bands]
        edges = [spectrum.low.shape[-1], spectrum.high.shape[-1]]
        if got != expected or edges != [frame.low_frames, frame.high_frames]:
            raise ShapeError(
                f"spectrum has octaves of (bins, frames) {got}, with {edges} frames below and "
                f"above; expected {expected}, with {[frame.low_frames, frame.high_frames]}: what "
                "this layer gives for as many samples"
            )

    def _check(self, spectrum: GaborSpectrum, frame: GaborFrame) -> None:
        self.check_frames(spectrum, frame)
        if self.slice_length is not None:
            count = slice_count(spectrum.samples, size=frame.size, overlap=self.overlap)
            if spectrum.low.ndim < 2 or spectrum.low.shape[-2] != count:
                raise ShapeError(
                    f"spectrum.low has shape {tuple(spectrum.low.shape)}; expected (..., {count}, "
                    f"{frame.low_frames}): {count} slices for {spectrum.samples} samples"
                )

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        return (
            f"sample_rate={self.sample_rate}, n_bins={len(self._edges) - 2}, "
            f"fmin={self._edges[1]:.6g}, bins_per_octave={self.bins_per_octave}, "
            f"slice_length={self.slice_length}, overlap={self.overlap}"
        )
