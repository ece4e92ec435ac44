"""Filter banks that are learned: free kernels, band passes, and Gabor filters."""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.frontends.base import (
    FrontEnd,
    Output,
    check_coefficients,
    check_counts,
    check_flags,
)
from sonograd.functional._settings import check_count, check_number, check_option
from sonograd.functional.filterbanks import check_band
from sonograd.functional.framing import (
    flat_rows,
    frame_signal,
    map_frames,
    may_work_in_pieces,
    weigh_frames,
)
from sonograd.functional.learned_filters import gabor_kernels, sinc_kernels
from sonograd.functional.least_squares import FrameSystem, least_squares_inverse
from sonograd.functional.scales import mel_frequencies
from sonograd.functional.spectral import overlap_add

__all__ = ["FilterKind", "LearnedDecoder", "LearnedFilterbank"]

FilterKind: TypeAlias = Literal["free", "sinc", "gabor"]


class LearnedFilterbank(FrontEnd):
    r"""Signals filtered by learned kernels, every ``hop_length`` samples.

    .. math::
        y_{im} = \sum_n g_i[n] \, x[n + m H - c]

    - ``kind="free"``: every tap is a parameter; real results.
    - ``kind="sinc"``: band passes of :func:`~sonograd.functional.sinc_kernels`; a center and a
      bandwidth per filter; real results.
    - ``kind="gabor"``: complex kernels of :func:`~sonograd.functional.gabor_kernels`; a center and
      a bandwidth per filter.

    With ``pool_length``, the square of the result at every sample is smoothed by a Gaussian,
    whose width per filter is learned too, before one value per hop is taken: with Gabor filters,
    and :class:`PCEN` behind, that is LEAF (Zeghidour et al., arXiv:2101.08596).

    Centers stay between 0 and half the sample rate, and bandwidths between ``sample_rate / taps``
    and half the sample rate, whatever an optimizer does.

    Attributes:
        frequencies: Centers in Hz as they are now, ``(filters,)``; not for free kernels.

    >>> LearnedFilterbank(sample_rate=8000, filters=32, taps=65)(torch.zeros(2, 800)).shape
    torch.Size([2, 32, 25])
    """

    def __init__(
        self,
        *,
        sample_rate: float = 16000,
        filters: int = 64,
        taps: int = 401,
        hop_length: int | None = None,
        kind: FilterKind = "free",
        fmin: float = 60.0,
        fmax: float | None = None,
        center: bool = True,
        pool_length: int | None = None,
        output: Output | None = None,
        seed: int = 0,
    ) -> None:
        """Choose where to begin: with bands that are equally wide in mel, or with noise.

        Args:
            sample_rate: Samples per second.
            filters: Number of filters.
            taps: Length of the kernels.
            hop_length: Samples between results; half of the taps, or of ``pool_length``, if None.
            kind: ``"free"``, ``"sinc"`` or ``"gabor"``.
            fmin: Where the lowest band begins, in Hz; not for free kernels.
            fmax: Where the highest band ends, in Hz; half the sample rate if None.
            center: Result ``m`` is that around sample ``m * hop_length``, with silence outside of
                the signal. Otherwise kernels begin there and nothing is added.
            pool_length: Samples under the Gaussian; None to take results as they are.
            output: For Gabor filters without pooling: ``"complex"`` (the default),
                ``"magnitude"``, ``"power"`` or ``"phase"``.
            seed: Seed of free kernels.

        Raises:
            ParameterError: If an argument is out of range.
        """
        check_option(kind, "kind", ("free", "sinc", "gabor"))
        if kind == "gabor" and pool_length is None:
            output = "complex" if output is None else output
        elif output is not None:
            raise ParameterError(
                f"output is {output!r}; it can be chosen for kind='gabor' without pool_length only"
            )
        super().__init__(sample_rate=sample_rate, output=output)
        check_counts(filters=filters, taps=taps)
        if pool_length is not None:
            check_counts(pool_length=pool_length)
        check_number("fmin", fmin, unit="Hz")
        check_band(sample_rate, 1, 0.0, fmax)
        if hop_length is None:
            hop_length = max(1, (pool_length or taps) // 2)
        check_counts(hop_length=hop_length)
        check_flags(center=center)
        check_count("seed", seed, least=0)
        self.kind, self.filters, self.taps, self.hop_length = kind, filters, taps, hop_length
        self.center, self.pool_length = center, pool_length
        if kind == "free":
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(filters, taps, generator=generator, dtype=torch.float64)
            start = (noise / math.sqrt(taps)).to(torch.get_default_dtype(), copy=True)
            self.free_kernels = nn.Parameter(start)
        else:
            self._begin_with_bands(fmin, fmax)
        if pool_length is not None:
            # A Gaussian of this relative width is LEAF's.
            self.pool_width = nn.Parameter(torch.full((filters,), math.log(0.4)))

    def _begin_with_bands(self, fmin: float, fmax: float | None) -> None:
        fmax = check_band(self.sample_rate, 1, fmin, fmax)
        edges = mel_frequencies(self.filters + 2, fmin=fmin, fmax=fmax)
        nyquist = self.sample_rate / 2
        # Places on the way from the smallest to the largest value, as logits.
        share = edges[1:-1] / nyquist
        self.center_logit = nn.Parameter(
            torch.logit(share).to(torch.get_default_dtype(), copy=True)
        )
        width = (edges[2:] - edges[:-2]) / 2
        low, high = self._bandwidth_limits
        share = (torch.log(width / low) / math.log(high / low)).clamp(0.02, 0.98)
        self.bandwidth_logit = nn.Parameter(
            torch.logit(share).to(torch.get_default_dtype(), copy=True)
        )

    @property
    def _bandwidth_limits(self) -> tuple[float, float]:
        nyquist = self.sample_rate / 2
        return min(self.sample_rate / self.taps, nyquist / 2), nyquist

    @property
    def frequencies(self) -> Tensor:
        """Centers in Hz, ``(filters,)``, with their gradient."""
        if self.kind == "free":
            raise AttributeError("free kernels have no center frequencies")
        return self.center_logit.sigmoid() * (self.sample_rate / 2)

    @property
    def bandwidths(self) -> Tensor:
        """Bandwidths in Hz, ``(filters,)``, with their gradient."""
        if self.kind == "free":
            raise AttributeError("free kernels have no bandwidths")
        low, high = self._bandwidth_limits
        return low * torch.exp(self.bandwidth_logit.sigmoid() * math.log(high / low))

    def kernels(self, like: Tensor | None = None) -> Tensor:
        """Return the kernels as they are now: ``(parts, filters, taps)``.

        Args:
            like: A tensor whose dtype and device are taken.

        Returns:
            Two parts, real and imaginary, for Gabor filters; else one.
        """
        if self.kind == "free":
            kernels = self.free_kernels if like is None else self.free_kernels.to(like)
            return kernels[None]
        center, bandwidth = self.frequencies, self.bandwidths
        if like is not None:
            center, bandwidth = center.to(like), bandwidth.to(like)
        options = {"sample_rate": self.sample_rate}
        if self.kind == "gabor":
            return gabor_kernels(center, bandwidth, taps=self.taps, **options)
        return sinc_kernels(center, bandwidth, taps=self.taps, **options)[None]

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals, float32 or float64, ``(..., samples)``."""
        kernels = self.kernels(x)
        if self.pool_length is not None:
            return self._pooled(x, kernels)
        result = self._convolved(x, kernels, self.hop_length)
        if self.kind != "gabor":
            return result.mT
        real, imag = result.chunk(2, dim=-1)
        return torch.complex(real.contiguous(), imag.contiguous()).mT

    def _convolved(self, x: Tensor, kernels: Tensor, hop_length: int) -> Tensor:
        """Return ``(..., frames, parts * filters)``."""
        matrix = kernels.flatten(0, 1).mT
        before, after = self._margins
        if not may_work_in_pieces(x, matrix):
            frames = frame_signal(
                x, n_fft=self.taps, hop_length=hop_length, before=before, after=after
            )
            return weigh_frames(frames, matrix)
        return map_frames(
            x,
            lambda frames, out: torch.matmul(frames, matrix, out=out),
            n_fft=self.taps,
            hop_length=hop_length,
            before=before,
            after=after,
            pad_mode="constant",
            features=matrix.shape[1],
            dtype=x.dtype,
        )

    @property
    def _margins(self) -> tuple[int, int]:
        """Samples before and after the signal, so that there is one result per hop."""
        return (self.taps // 2, (self.taps - 1) // 2) if self.center else (0, 0)

    def _pooled(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Return smoothed energies ``(..., filters, frames)``, some filters at a time."""
        assert self.pool_length is not None
        position = torch.arange(self.pool_length, dtype=x.dtype, device=x.device)
        half = (self.pool_length - 1) / 2
        place = (position - half) / max(half, 0.5)
        width = self.pool_width.to(x).exp()[:, None]
        weight = torch.exp(-0.5 * (place / width).square())
        weight = weight / weight.sum(-1, keepdim=True)
        before, after = self._margins
        flat = nnf.pad(flat_rows(x), (before, after)).unsqueeze(1)
        margin = self.pool_length // 2 if self.center else 0
        results = []
        for part, lowpass in zip(kernels.split(8, dim=1), weight.split(8, dim=0), strict=True):
            parts, filters = part.shape[:2]
            if flat.shape[-1] < self.taps:
                results.append(flat.new_zeros(len(flat), filters, 0))
                continue
            bands = nnf.conv1d(flat, part.flatten(0, 1)[:, None])
            energy = bands.unflatten(1, (parts, filters)).square().sum(1)
            energy = nnf.pad(energy, (margin, margin))
            if energy.shape[-1] < self.pool_length:
                results.append(energy.new_zeros(*energy.shape[:-1], 0))
                continue
            results.append(
                nnf.conv1d(energy, lowpass[:, None], stride=self.hop_length, groups=filters)
            )
        result = torch.cat(results, dim=1)
        return result.reshape(*x.shape[:-1], *result.shape[-2:])

    def inverse(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """Return the signals whose transform is nearest to ``spectrum`` in the square sense.

        With the kernels as they are now, by conjugate gradients; for a decoder that is learned
        too, see :class:`LearnedDecoder`.

        Args:
            spectrum: ``(..., filters, frames)``, complex for Gabor filters, else real.
            length: Samples to return; as many as all frames cover if None.

        Returns:
            ``(..., samples)``.

        Raises:
            ShapeError: If ``spectrum`` has another type or number of filters.
            ParameterError: If the filters do not determine a signal, or energies are pooled.
        """
        if self.pool_length is not None:
            raise ParameterError("pooled energies cannot be inverted; use pool_length=None")
        _check_coefficients(spectrum, self.filters, self.kind)
        if length is not None:
            check_count("length", length, least=0)
        before, after = self._margins
        if length is None:
            frames = spectrum.shape[-1]
            length = max(0, (frames - 1) * self.hop_length + self.taps - before - after)
        count = 1 + (length + before + after - self.taps) // self.hop_length
        if count != spectrum.shape[-1]:
            raise ParameterError(
                f"length is {length}, which has {count} frames; spectrum has {spectrum.shape[-1]}"
            )
        like = spectrum.to(spectrum.dtype if spectrum.device.type == "mps" else torch.complex128)
        with torch.no_grad():
            kernels = self.kernels(like.real)
            if len(kernels) == 1:
                kernels = torch.cat([kernels, torch.zeros_like(kernels)])
            system = FrameSystem(kernels, self.hop_length, (before, after), "constant")
        try:
            found = least_squares_inverse(system, like, length)
        except ParameterError as error:
            raise ParameterError(
                f"{self.filters} filters of {self.taps} taps every {self.hop_length} samples "
                f"cannot be inverted: {error}. Use more filters or a shorter hop."
            ) from None
        return found.to(spectrum.real.dtype)

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        return (
            f"{super().extra_repr()}, kind={self.kind!r}, filters={self.filters}, "
            f"taps={self.taps}, hop_length={self.hop_length}"
        )


class LearnedDecoder(nn.Module):
    """The way back from a :class:`LearnedFilterbank`, with kernels of its own to be learned.

    Multiples of the kernels are averaged where they overlap. The kernels begin as the
    pseudo-inverse of those of the filter bank: if there are at least as many real filters as taps,
    or half as many complex ones, the decoder begins as the exact inverse.

    >>> bank = LearnedFilterbank(sample_rate=8000, filters=32, taps=16, hop_length=8)
    >>> x = torch.rand(2, 800)
    >>> bool(torch.allclose(LearnedDecoder(bank)(bank(x), length=800), x, atol=1e-4))
    True
    """

    def __init__(self, filterbank: LearnedFilterbank) -> None:
        """Begin with the pseudo-inverse of ``filterbank``.

        Raises:
            ParameterError: If it pools, or gives anything but coefficients.
        """
        super().__init__()
        if not isinstance(filterbank, LearnedFilterbank):
            raise ParameterError(
                f"filterbank is a {type(filterbank).__name__}; expected a LearnedFilterbank"
            )
        if filterbank.pool_length is not None or filterbank.output not in {None, "complex"}:
            raise ParameterError(
                "this filter bank gives energies or phases, which cannot be decoded; use "
                "pool_length=None and output='complex'"
            )
        self.kind, self.hop_length = filterbank.kind, filterbank.hop_length
        self.center = filterbank.center
        with torch.no_grad():
            kernels = filterbank.kernels().detach().double().cpu()
            dual = torch.linalg.pinv(kernels.flatten(0, 1)).mT.unflatten(0, kernels.shape[:2])
        self.kernels = nn.Parameter(dual.to(torch.get_default_dtype(), copy=True))

    def forward(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """Decode ``(..., filters, frames)``, complex for Gabor filters, to ``(..., samples)``.

        Args:
            spectrum: What the filter bank gave, or something like it.
            length: Samples to return; as many as the filter bank was given for whole hops if None.

        Raises:
            ShapeError: If ``spectrum`` has another type or number of filters.
        """
        _check_coefficients(spectrum, self.kernels.shape[1], self.kind)
        if length is not None:
            check_count("length", length, least=0)
        rows = spectrum.mT
        rows = torch.cat([rows.real, rows.imag], dim=-1) if rows.is_complex() else rows
        taps = self.kernels.shape[-1]
        before = taps // 2 if self.center else 0
        after = (taps - 1) // 2 if self.center else 0
        covered = max(0, (spectrum.shape[-1] - 1) * self.hop_length + taps - before - after)
        length = covered if length is None else length
        if spectrum.numel() == 0:
            return rows.new_zeros(*spectrum.shape[:-2], length)
        frames = rows @ self.kernels.flatten(0, 1).to(rows)
        signal = overlap_add(frames, hop_length=self.hop_length)
        count = overlap_add(frames.new_ones(frames.shape[-2:]), hop_length=self.hop_length)
        signal = (signal / count.clamp(min=1.0))[..., before : before + length]
        return nnf.pad(signal, (0, length - signal.shape[-1]))


def _check_coefficients(spectrum: Tensor, filters: int, kind: FilterKind) -> None:
    check_coefficients(spectrum, bins=filters, wanted="complex" if kind == "gabor" else "real")
