"""Losses that compare spectrograms at several resolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.stft_distances import Resolution, SpectralWeights, stft_distance
from sonograd.functional.windows import get_window
from sonograd.losses.base import Loss, Reduction, check_positive
from sonograd.losses.spectral import Distance, STFTLoss

__all__ = [
    "MultiResolutionSTFT",
    "RandomResolutionSTFT",
    "SumAndDifferenceSTFT",
    "draw_resolutions",
]


class MultiResolutionSTFT(Loss):
    """The mean of :class:`STFTLoss` over several resolutions.

    By default the three of Yamamoto et al., whose short windows see transients and whose long ones
    see harmonics. Value and gradient are computed together, resolution by resolution, so that
    memory is that of one.

    >>> x = torch.randn(2, 4000)
    >>> MultiResolutionSTFT(reduction="none")(x, x)
    tensor([0., 0.])
    """

    def __init__(
        self,
        *,
        n_ffts: Sequence[int] = (1024, 2048, 512),
        hop_lengths: Sequence[int] | None = None,
        win_lengths: Sequence[int] | None = None,
        window: str = "hann",
        convergence: float = 1.0,
        log_magnitude: float = 1.0,
        magnitude: float = 0.0,
        phase: float = 0.0,
        distance: Distance = "l1",
        scale_invariant: bool = False,
        floor: float = 1e-4,
        quiet: float = 1e-3,
        batch_coupled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the resolutions; everything else is as in :class:`STFTLoss`.

        Args:
            n_ffts: Lengths of the transforms in samples.
            hop_lengths: Samples between frames of each; if None, 120, 240 and 50 for the default
                lengths, and a quarter of the windows otherwise.
            win_lengths: Lengths of the windows; if None, 600, 1200 and 240 for the default
                lengths, and ``n_ffts`` otherwise.
            window: As in :class:`STFTLoss`.
            convergence: As in :class:`STFTLoss`.
            log_magnitude: As in :class:`STFTLoss`.
            magnitude: As in :class:`STFTLoss`.
            phase: As in :class:`STFTLoss`.
            distance: As in :class:`STFTLoss`.
            scale_invariant: As in :class:`STFTLoss`.
            floor: As in :class:`STFTLoss`.
            quiet: As in :class:`STFTLoss`.
            batch_coupled: As in :class:`STFTLoss`.
            reduction: As in :class:`STFTLoss`.
        """
        super().__init__(reduction=reduction)
        resolutions = _resolutions(n_ffts, hop_lengths, win_lengths)
        self.batch_coupled = batch_coupled
        self.resolutions = nn.ModuleList(
            STFTLoss(
                n_fft=r.n_fft,
                hop_length=r.hop_length,
                win_length=r.win_length,
                window=window,
                convergence=convergence,
                log_magnitude=log_magnitude,
                magnitude=magnitude,
                phase=phase,
                distance=distance,
                scale_invariant=scale_invariant,
                floor=floor,
                quiet=quiet,
                batch_coupled=batch_coupled,
                reduction=reduction,
            )
            for r in resolutions
        )

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``; a scalar if ``batch_coupled``."""
        return mean_over_resolutions(list(self.resolutions), estimate, reference)


class RandomResolutionSTFT(Loss):
    """:class:`STFTLoss` at resolutions that are drawn anew again and again.

    No artifact of one grid is learned. Steinmetz and Reiss, *auraloss*, 2020. The draws depend on
    ``seed`` and on the number of calls alone, which is saved with the module: they are the same on
    every process, and after a resumed run. In evaluation mode the first draw is used.
    """

    calls: Tensor

    def __init__(
        self,
        *,
        count: int = 3,
        min_fft: int = 16,
        max_fft: int = 32_768,
        min_hop: float = 0.1,
        max_hop: float = 0.5,
        windows: Sequence[str] = ("hann", "hamming", "blackman", "bartlett"),
        every: int = 1,
        seed: int = 0,
        convergence: float = 1.0,
        log_magnitude: float = 1.0,
        magnitude: float = 0.0,
        floor: float = 1e-4,
        quiet: float = 1e-3,
        batch_coupled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose what is drawn from.

        Args:
            count: Resolutions per call.
            min_fft: Shortest transform, a power of two.
            max_fft: Longest transform, a power of two; it may be drawn too.
            min_hop: Shortest hop, as a share of the window, in (0, 1].
            max_hop: Longest hop, as a share of the window, in (0, 1].
            windows: Names to choose from.
            every: Calls between draws.
            seed: Of the draws.
            convergence: As in :class:`STFTLoss`.
            log_magnitude: As in :class:`STFTLoss`.
            magnitude: As in :class:`STFTLoss`.
            floor: As in :class:`STFTLoss`.
            quiet: As in :class:`STFTLoss`.
            batch_coupled: As in :class:`STFTLoss`.
            reduction: As in :class:`STFTLoss`.
        """
        super().__init__(reduction=reduction)
        if every < 1:
            raise ParameterError(f"every is {every}; expected at least 1")
        for name in windows:
            get_window(name, 4)
        check_positive(floor=floor)
        self.count, self.every, self.seed = count, every, seed
        self.fft_range = min_fft, max_fft
        self.hop_range = min_hop, max_hop
        self.windows = tuple(windows)
        self.weights = SpectralWeights(convergence, log_magnitude, magnitude)
        self.floor, self.quiet, self.batch_coupled = floor, quiet, batch_coupled
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.draw(0)

    def draw(self, number: int) -> list[tuple[Resolution, str]]:
        """Return the resolutions and windows of draw ``number``."""
        return draw_resolutions(
            self.seed * 1_000_003 + number,
            count=self.count,
            fft_range=self.fft_range,
            hop_range=self.hop_range,
            windows=self.windows,
        )

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``; a scalar if ``batch_coupled``."""
        number = 0
        if self.training:
            number = int(self.calls) // self.every
            self.calls += 1
        drawn = self.draw(number)
        return stft_distance(
            estimate,
            reference,
            resolutions=[resolution for resolution, _ in drawn],
            windows=[get_window(name, r.win_length, dtype=torch.float64) for r, name in drawn],
            weights=self.weights,
            floor=self.floor,
            quiet=self.quiet,
            batch_coupled=self.batch_coupled,
        )


class SumAndDifferenceSTFT(Loss):
    r"""A spectral loss of the sum and the difference of two channels, not of the channels.

    :math:`\frac12 (w_s \ell(L + R) + w_d \ell(L - R))` with :class:`MultiResolutionSTFT` as
    :math:`\ell`: it sees the stereo image, but not an exchange of the channels. Steinmetz et al.,
    *Automatic multitrack mixing with a differentiable mixing console of neural audio effects*,
    arXiv:2010.10291.
    """

    def __init__(
        self,
        *,
        n_ffts: Sequence[int] = (1024, 2048, 512),
        hop_lengths: Sequence[int] | None = None,
        win_lengths: Sequence[int] | None = None,
        window: str = "hann",
        sum_weight: float = 1.0,
        difference_weight: float = 1.0,
        batch_coupled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the resolutions, as in :class:`MultiResolutionSTFT`, and the weights.

        Args:
            n_ffts: As in :class:`MultiResolutionSTFT`.
            hop_lengths: As in :class:`MultiResolutionSTFT`.
            win_lengths: As in :class:`MultiResolutionSTFT`.
            window: As in :class:`MultiResolutionSTFT`.
            sum_weight: Weight of the sum, at least 0.
            difference_weight: Weight of the difference, at least 0.
            batch_coupled: As in :class:`STFTLoss`.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., 2, samples)``.
        """
        super().__init__(reduction=reduction)
        if not min(sum_weight, difference_weight) >= 0:
            raise ParameterError(
                f"sum_weight is {sum_weight} and difference_weight {difference_weight}; "
                "expected numbers >= 0"
            )
        self.sum_weight, self.difference_weight = sum_weight, difference_weight
        self.distance = MultiResolutionSTFT(
            n_ffts=n_ffts,
            hop_lengths=hop_lengths,
            win_lengths=win_lengths,
            window=window,
            batch_coupled=batch_coupled,
            reduction=reduction,
        )

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per stereo signal, ``(...)``; a scalar if ``batch_coupled``."""
        if estimate.ndim < 2 or estimate.shape[-2] != 2:
            raise ShapeError(
                f"estimate has shape {tuple(estimate.shape)}; expected (..., 2, samples): "
                "sum and difference need two channels"
            )
        total = self.distance.per_item(_sum(estimate), _sum(reference))
        difference = self.distance.per_item(_difference(estimate), _difference(reference))
        return (self.sum_weight * total + self.difference_weight * difference) / 2


def draw_resolutions(
    seed: int,
    *,
    count: int,
    fft_range: tuple[int, int],
    hop_range: tuple[float, float],
    windows: Sequence[str],
) -> list[tuple[Resolution, str]]:
    """Draw transforms, uniform over the logarithm of their length, and windows for them.

    Args:
        seed: Of the draw; nothing else matters.
        count: How many.
        fft_range: Shortest and longest transform, powers of two.
        hop_range: Shortest and longest hop, as a share of the window.
        windows: Names to choose from.

    Raises:
        ParameterError: If a range is empty or out of bounds.
    """
    if count < 1 or not windows:
        raise ParameterError(
            f"count is {count} and windows {tuple(windows)}; expected at least one of each"
        )
    if not 4 <= fft_range[0] <= fft_range[1] or any(n & (n - 1) for n in fft_range):
        raise ParameterError(
            f"transforms from {fft_range[0]} to {fft_range[1]} were asked for; expected powers of "
            "two, at least 4, the smaller first"
        )
    if not 0 < hop_range[0] <= hop_range[1] <= 1:
        raise ParameterError(
            f"hops from {hop_range[0]} to {hop_range[1]} of the window were asked for; expected "
            "numbers in (0, 1], the smaller first"
        )
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> float:
        return torch.rand((), generator=generator, dtype=torch.float64).item()

    drawn = []
    low, high = (n.bit_length() - 1 for n in fft_range)
    for _ in range(count):
        n_fft = 1 << (low + int(uniform() * (high - low + 1)))
        win_length = n_fft >> int(uniform() * 3)
        share = hop_range[0] + uniform() * (hop_range[1] - hop_range[0])
        hop_length = max(1, round(share * win_length))
        window = windows[int(uniform() * len(windows))]
        drawn.append((Resolution(n_fft, hop_length, win_length), window))
    return drawn


def mean_over_resolutions(
    losses: Sequence[nn.Module], estimate: Tensor, reference: Tensor
) -> Tensor:
    """Return the mean of the values per item of some :class:`STFTLoss`, fused where possible."""
    parts = [loss for loss in losses if isinstance(loss, STFTLoss)]
    first = parts[0]
    coupled_sum = first.batch_coupled and first.reduction == "sum"
    if first.closed_form and not reference.requires_grad and not coupled_sum:
        return stft_distance(
            estimate,
            reference,
            resolutions=[part.resolution for part in parts],
            windows=[part.window for part in parts],
            weights=first.weights,
            floor=first.floor,
            quiet=first.quiet,
            batch_coupled=first.batch_coupled,
        )
    return torch.stack([part.per_item(estimate, reference) for part in parts]).mean(dim=0)


def _resolutions(
    n_ffts: Sequence[int], hop_lengths: Sequence[int] | None, win_lengths: Sequence[int] | None
) -> list[Resolution]:
    if not n_ffts:
        raise ParameterError("n_ffts is empty; expected at least one FFT length")
    published = tuple(n_ffts) == (1024, 2048, 512)
    if win_lengths is None:
        win_lengths = (600, 1200, 240) if published else n_ffts
        if hop_lengths is None and published:
            hop_lengths = (120, 240, 50)
    if hop_lengths is None:
        hop_lengths = [max(1, length // 4) for length in win_lengths]
    if not len(n_ffts) == len(hop_lengths) == len(win_lengths):
        raise ParameterError(
            f"got {len(n_ffts)} n_ffts, {len(hop_lengths)} hop_lengths and "
            f"{len(win_lengths)} win_lengths; expected as many of each"
        )
    return [Resolution(*r) for r in zip(n_ffts, hop_lengths, win_lengths, strict=True)]


def _sum(x: Tensor) -> Tensor:
    return x[..., 0, :] + x[..., 1, :]


def _difference(x: Tensor) -> Tensor:
    return x[..., 0, :] - x[..., 1, :]
