"""Losses in the frequency domain, by the names of ``auraloss.freq``."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sonograd.compat.auraloss._checks import (
    Scale,
    check_batch,
    needed,
    scale_bank,
    window_by_name,
)
from sonograd.compat.auraloss.perceptual import FIRFilter, SumAndDifference
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.stft_distances import Resolution, SpectralWeights, stft_distance
from sonograd.losses.base import Reduction
from sonograd.losses.resolutions import draw_resolutions

__all__ = [
    "ChromaSTFTLoss",
    "MelSTFTLoss",
    "MultiResolutionSTFTLoss",
    "RandomResolutionSTFTLoss",
    "STFTLoss",
    "STFTMagnitudeLoss",
    "SpectralConvergenceLoss",
    "SumAndDifferenceSTFTLoss",
]

Output: TypeAlias = Literal["loss", "full"]
Distance: TypeAlias = Literal["L1", "L2"]


class SpectralConvergenceLoss(nn.Module):
    """Norm of the difference over the norm of the target, over all elements."""

    def forward(self, x_mag: Tensor, y_mag: Tensor) -> Tensor:
        """Compare magnitudes of one shape."""
        norm: Tensor = torch.linalg.vector_norm(y_mag)
        distance: Tensor = torch.linalg.vector_norm(y_mag - x_mag)
        return distance / norm.clamp(min=torch.finfo(norm.dtype).tiny)


class STFTMagnitudeLoss(nn.Module):
    """Distance of magnitudes or of their logarithms."""

    def __init__(
        self, log: bool = True, distance: Distance = "L1", reduction: Reduction = "mean"
    ) -> None:
        """Take the arguments of the original."""
        super().__init__()
        self.log = log
        self.distance: nn.Module
        if distance == "L1":
            self.distance = nn.L1Loss(reduction=reduction)
        elif distance == "L2":
            self.distance = nn.MSELoss(reduction=reduction)
        else:
            raise ParameterError(f"distance is {distance!r}; expected 'L1' or 'L2'")

    def forward(self, x_mag: Tensor, y_mag: Tensor) -> Tensor:
        """Compare magnitudes of one shape."""
        if self.log:
            x_mag, y_mag = x_mag.log(), y_mag.log()
        value: Tensor = self.distance(x_mag, y_mag)
        return value


class STFTLoss(nn.Module):
    """Distances of one short-time Fourier transform; everything over the whole batch."""

    window: Tensor
    fb: Tensor

    def __init__(
        self,
        fft_size: int = 1024,
        hop_size: int = 256,
        win_length: int = 1024,
        window: str = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        sample_rate: float | None = None,
        scale: Scale | None = None,
        n_bins: int | None = None,
        perceptual_weighting: bool = False,
        scale_invariance: bool = False,
        eps: float = 1e-8,
        output: Output = "loss",
        reduction: Reduction = "mean",
        mag_distance: Distance = "L1",
        device: Any = None,
    ) -> None:
        """Take the arguments of the original; banks follow the device of the module anyway."""
        super().__init__()
        self.resolution = Resolution(fft_size, hop_size, win_length)
        self.fft_size, self.hop_size, self.win_length = fft_size, hop_size, win_length
        self.w_sc, self.w_log_mag = w_sc, w_log_mag
        self.w_lin_mag, self.w_phs = w_lin_mag, w_phs
        self.sample_rate, self.scale, self.n_bins = sample_rate, scale, n_bins
        self.scale_invariance, self.eps = scale_invariance, eps
        self.output, self.reduction, self.mag_distance = output, reduction, mag_distance
        self.perceptual_weighting = perceptual_weighting
        if output not in {"loss", "full"}:
            raise ParameterError(f"output is {output!r}; expected 'loss' or 'full'")
        if reduction not in {"mean", "sum", "none"}:
            raise ParameterError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")
        self.spectralconv = SpectralConvergenceLoss()
        self.logstft = STFTMagnitudeLoss(True, mag_distance, reduction)
        self.linstft = STFTMagnitudeLoss(False, mag_distance, reduction)
        made: Tensor = window_by_name(window, win_length)
        self.register_buffer("window", made.to(device), persistent=False)
        if scale is not None:
            bank = scale_bank(scale, sample_rate, fft_size, n_bins)
            self.register_buffer("fb", bank.to(device), persistent=False)
        if perceptual_weighting:
            self.prefilter = FIRFilter("aw", fs=needed(sample_rate, "perceptual_weighting"))

    def stft(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return magnitudes and phases ``(signals, bins, frames)`` of ``(signals, samples)``."""
        spectrum = torch.stft(
            x,
            self.fft_size,
            self.hop_size,
            self.win_length,
            self.window.to(x),
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return power.clamp(min=self.eps).sqrt(), spectrum.angle()

    @property
    def closed_form(self) -> bool:
        """Whether value and gradient are computed together, in closed form."""
        plain = self.scale is None and not self.scale_invariance and not self.w_phs
        return (
            plain
            and self.mag_distance == "L1"
            and (self.reduction, self.output)
            == (
                "mean",
                "loss",
            )
        )

    def forward(self, input: Tensor, target: Tensor) -> Any:
        """Compare ``(batch, channels, samples)``; a tensor, or five with ``output="full"``."""
        check_batch(input, target)
        if self.perceptual_weighting:
            input, target = self.prefilter(input, target)
        if self.closed_form and not target.requires_grad:
            return _fused([self], input, target)
        x_mag, x_phs = self.stft(input.reshape(-1, input.shape[-1]))
        y_mag, y_phs = self.stft(target.reshape(-1, target.shape[-1]))
        if self.scale is not None:
            bank = self.fb.to(x_mag)
            x_mag, y_mag = bank @ x_mag, bank @ y_mag
        if self.scale_invariance:
            alpha = (x_mag * y_mag).sum(dim=(-2, -1)) / y_mag.square().sum(dim=(-2, -1))
            y_mag = y_mag * alpha[:, None, None]
        zero = x_mag.new_zeros(())
        terms = (
            self.spectralconv(x_mag, y_mag) if self.w_sc else zero,
            self.logstft(x_mag, y_mag) if self.w_log_mag else zero,
            self.linstft(x_mag, y_mag) if self.w_lin_mag else zero,
            nn.functional.mse_loss(x_phs, y_phs) if self.w_phs else zero,
        )
        weights = self.w_sc, self.w_log_mag, self.w_lin_mag, self.w_phs
        loss = sum((w * term for w, term in zip(weights, terms, strict=True)), start=zero)
        if self.reduction != "none":
            loss = loss.mean() if self.reduction == "mean" else loss.sum()
        return loss if self.output == "loss" else (loss, *terms)


class MelSTFTLoss(STFTLoss):
    """:class:`STFTLoss` on mel bands."""

    def __init__(
        self,
        sample_rate: float,
        fft_size: int = 1024,
        hop_size: int = 256,
        win_length: int = 1024,
        window: str = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        n_mels: int = 128,
        **kwargs: Any,
    ) -> None:
        """Take the arguments of the original; ``kwargs`` are those of :class:`STFTLoss`."""
        super().__init__(
            fft_size,
            hop_size,
            win_length,
            window,
            w_sc,
            w_log_mag,
            w_lin_mag,
            w_phs,
            sample_rate,
            "mel",
            n_mels,
            **kwargs,
        )


class ChromaSTFTLoss(STFTLoss):
    """:class:`STFTLoss` on pitch classes."""

    def __init__(
        self,
        sample_rate: float,
        fft_size: int = 1024,
        hop_size: int = 256,
        win_length: int = 1024,
        window: str = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        n_chroma: int = 12,
        **kwargs: Any,
    ) -> None:
        """Take the arguments of the original; ``kwargs`` are those of :class:`STFTLoss`."""
        super().__init__(
            fft_size,
            hop_size,
            win_length,
            window,
            w_sc,
            w_log_mag,
            w_lin_mag,
            w_phs,
            sample_rate,
            "chroma",
            n_chroma,
            **kwargs,
        )


class MultiResolutionSTFTLoss(nn.Module):
    """Mean of :class:`STFTLoss` over several resolutions."""

    def __init__(
        self,
        fft_sizes: Sequence[int] = (1024, 2048, 512),
        hop_sizes: Sequence[int] = (120, 240, 50),
        win_lengths: Sequence[int] = (600, 1200, 240),
        window: str = "hann_window",
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        sample_rate: float | None = None,
        scale: Scale | None = None,
        n_bins: int | None = None,
        perceptual_weighting: bool = False,
        scale_invariance: bool = False,
        **kwargs: Any,
    ) -> None:
        """Take the arguments of the original; ``kwargs`` are those of :class:`STFTLoss`."""
        super().__init__()
        if not len(fft_sizes) == len(hop_sizes) == len(win_lengths) or not fft_sizes:
            raise ParameterError(
                f"got {len(fft_sizes)} fft_sizes, {len(hop_sizes)} hop_sizes and "
                f"{len(win_lengths)} win_lengths; expected as many of each, at least one"
            )
        self.fft_sizes, self.hop_sizes, self.win_lengths = fft_sizes, hop_sizes, win_lengths
        self.losses = [
            STFTLoss(
                *sizes,
                window,
                w_sc,
                w_log_mag,
                w_lin_mag,
                w_phs,
                sample_rate,
                scale,
                n_bins,
                perceptual_weighting,
                scale_invariance,
                **kwargs,
            )
            for sizes in zip(fft_sizes, hop_sizes, win_lengths, strict=True)
        ]
        self.stft_losses = nn.ModuleList(self.losses)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Compare; with ``output="full"`` the loss and a list of each term."""
        check_batch(x, y)
        first = self.losses[0]
        if first.closed_form and not y.requires_grad:
            if first.perceptual_weighting:
                x, y = first.prefilter(x, y)
            return _fused(self.losses, x, y)
        results = [loss(x, y) for loss in self.losses]
        if first.output == "loss":
            return sum(results) / len(results)
        total, *terms = (list(term) for term in zip(*results, strict=True))
        return (sum(total) / len(total), *terms)


class RandomResolutionSTFTLoss(nn.Module):
    """Mean of :class:`STFTLoss` over resolutions that are drawn anew again and again."""

    def __init__(
        self,
        resolutions: int = 3,
        min_fft_size: int = 16,
        max_fft_size: int = 32768,
        min_hop_size: float = 0.1,
        max_hop_size: float = 1.0,
        windows: Sequence[str] = (
            "hann_window",
            "bartlett_window",
            "blackman_window",
            "hamming_window",
            "kaiser_window",
        ),
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        w_phs: float = 0.0,
        sample_rate: float | None = None,
        scale: Scale | None = None,
        n_mels: int | None = None,
        randomize_rate: int = 1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Take the arguments of the original, and ``seed``."""
        super().__init__()
        self.max_fft_size = max_fft_size
        self.randomize_rate = randomize_rate
        self.windows = tuple(windows)
        if randomize_rate < 1:
            raise ParameterError(f"randomize_rate is {randomize_rate}; expected at least 1")
        self.resolutions, self.seed = resolutions, seed
        self.min_fft_size = min_fft_size
        self.min_hop_size, self.max_hop_size = min_hop_size, max_hop_size
        self._weights = w_sc, w_log_mag, w_lin_mag, w_phs
        self._bands = sample_rate, scale, n_mels
        self._options = kwargs
        self.nforwards = 0
        self.randomize_losses()

    def randomize_losses(self) -> None:
        """Draw new resolutions."""
        drawn = draw_resolutions(
            self.seed * 1_000_003 + self.nforwards // self.randomize_rate,
            count=self.resolutions,
            fft_range=(self.min_fft_size, self.max_fft_size),
            hop_range=(self.min_hop_size, self.max_hop_size),
            windows=self.windows,
        )
        self.stft_losses = nn.ModuleList(
            STFTLoss(
                r.n_fft,
                r.hop_length,
                r.win_length,
                name,
                *self._weights,
                *self._bands,
                **self._options,
            )
            for r, name in drawn
        )

    def forward(self, input: Tensor, target: Tensor) -> Any:
        """Compare signals longer than the longest transform."""
        check_batch(input, target)
        if input.shape[-1] <= self.max_fft_size:
            raise ShapeError(
                f"input has {input.shape[-1]} samples; expected more than max_fft_size, "
                f"{self.max_fft_size}"
            )
        if self.nforwards % self.randomize_rate == 0:
            self.randomize_losses()
        self.nforwards += 1
        losses = self.stft_losses.to(input.device)
        return sum(loss(input, target) for loss in losses) / len(losses)


class SumAndDifferenceSTFTLoss(nn.Module):
    """:class:`MultiResolutionSTFTLoss` of the sum and of the difference of two channels."""

    def __init__(
        self,
        fft_sizes: Sequence[int],
        hop_sizes: Sequence[int],
        win_lengths: Sequence[int],
        window: str = "hann_window",
        w_sum: float = 1.0,
        w_diff: float = 1.0,
        output: Output = "loss",
        **kwargs: Any,
    ) -> None:
        """Take the arguments of the original; ``kwargs`` are those of :class:`STFTLoss`."""
        super().__init__()
        if output not in {"loss", "full"}:
            raise ParameterError(f"output is {output!r}; expected 'loss' or 'full'")
        self.sd = SumAndDifference()
        self.w_sum, self.w_diff, self.output = w_sum, w_diff, output
        self.mrstft = MultiResolutionSTFTLoss(fft_sizes, hop_sizes, win_lengths, window, **kwargs)

    def forward(self, input: Tensor, target: Tensor) -> Any:
        """Compare ``(batch, 2, samples)``; with ``output="full"`` also both parts."""
        check_batch(input, target)
        ours, theirs = self.sd(input), self.sd(target)
        total, difference = (self.mrstft(x, y) for x, y in zip(ours, theirs, strict=True))
        loss = (self.w_sum * total + self.w_diff * difference) / 2
        return loss if self.output == "loss" else (loss, total, difference)


def _fused(losses: Sequence[STFTLoss], x: Tensor, y: Tensor) -> Tensor:
    """Compute the mean of several losses, value and gradient together."""
    first = losses[0]
    return stft_distance(
        x,
        y,
        resolutions=[loss.resolution for loss in losses],
        windows=[loss.window for loss in losses],
        weights=SpectralWeights(first.w_sc, first.w_log_mag, first.w_lin_mag),
        floor=first.eps**0.5,
        batch_coupled=True,
    )
