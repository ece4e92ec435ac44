"""Relative volume mel: distance of mel spectrograms, in dB below the reference."""

import warnings
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional._pairs import Lengths, check_finite, item_lengths
from sonograd.functional.rvm import db_to_scale, relative_volume_mel, volume_mel_filters
from sonograd.metrics.base import Accumulator

__all__ = ["RVM", "RelativeVolumeMel"]


class RelativeVolumeInputError(ShapeError, RuntimeError):
    """Signals that the measure is not defined for; a RuntimeError as in the original."""


class RelativeVolumeMel(nn.Module):
    """Relative volume of the error of mel spectrograms, in dB; lower is better.

    A drop-in for audiocraft's class: the same constructor, call and dictionary, and the same
    values within 1e-4 dB (2e-6 dB in float64, after ``.double()``). Both signals are divided by
    the level of the ground truth, the volume of the error in each mel band and frame is related
    to that of the ground truth and clamped, and the mean is taken. The multi-band diffusion paper
    (San Roman et al., arXiv:2308.02560) reports ``-rvm``.

    A perfect estimate, and silence for silence, give exactly ``min_relative_volume``; the measure
    does not see phase. As in the original **one** level serves a whole batch, so that the score
    depends on what else is in the batch, and all-zero mel filters flatter it;
    ``per_item=True`` and ``skip_empty_bands=True`` end both. For training use
    :class:`sonograd.losses.RelativeVolumeMelLoss`.

    >>> metric = RelativeVolumeMel()
    >>> noise = torch.sin(torch.arange(4000.0) ** 2)
    >>> sorted(metric(noise, noise))
    ['rvm', 'rvm_0', 'rvm_1', 'rvm_2', 'rvm_3']
    >>> metric(noise, noise)["rvm"]
    tensor(-25.)
    """

    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 24_000,
        n_mels: int = 80,
        n_fft: int = 512,
        hop_length: int = 128,
        min_relative_volume: float = -25,
        max_relative_volume: float = 25,
        max_initial_gain: float = 25,
        min_activity_volume: float = -25,
        num_aggregated_bands: int = 4,
        *,
        per_item: bool = False,
        skip_empty_bands: bool = False,
    ) -> None:
        """Design the filters; the defaults are those of the original.

        Args:
            sample_rate: In Hz.
            n_mels: Number of mel bands.
            n_fft: Length of the transform in samples.
            hop_length: Samples between frames.
            min_relative_volume: Smallest volume of the error, relative to the ground truth, in dB.
            max_relative_volume: Largest one, in dB.
            max_initial_gain: Limit of the first normalization, in dB.
            min_activity_volume: Bins of the ground truth below this level, in dB after the
                normalization, count as this loud.
            num_aggregated_bands: Number of groups of bands with a value of their own.
            per_item: Return one value for each item, whatever the batch: shape ``(...)`` from
                ``(..., channels, samples)``.
            skip_empty_bands: Leave out mel bands whose filter is all zero.

        Warns:
            UserWarning: Some filters are all zero and are not skipped.
        """
        super().__init__()
        if hop_length < 1 or num_aggregated_bands < 1:
            raise ParameterError(
                f"hop_length is {hop_length} and num_aggregated_bands {num_aggregated_bands}; "
                "expected at least 1 each"
            )
        if min_relative_volume > max_relative_volume:
            raise ParameterError(
                f"min_relative_volume is {min_relative_volume}, above max_relative_volume, "
                f"{max_relative_volume}"
            )
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.min_relative_volume = min_relative_volume
        self.max_relative_volume = max_relative_volume
        self.max_initial_gain = max_initial_gain
        self.min_activity_volume = min_activity_volume
        self.num_aggregated_bands = num_aggregated_bands
        self.per_item = per_item
        filters = volume_mel_filters(sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft)
        empty = (filters == 0).all(0)
        if skip_empty_bands:
            filters = filters[:, ~empty]
        elif empty.any():
            warnings.warn(
                f"{int(empty.sum())} of {n_mels} mel filters are all zero at {sample_rate} Hz with "
                f"n_fft {n_fft} (bands {torch.nonzero(empty).flatten().tolist()}); each counts as "
                "perfect. Raise n_fft, lower n_mels, or pass skip_empty_bands=True.",
                stacklevel=2,
            )
        self.register_buffer("filters", filters, persistent=False)

    def forward(
        self, estimate: Tensor, ground_truth: Tensor, *, lengths: Lengths | None = None
    ) -> dict[str, Tensor]:
        """Compare.

        Args:
            estimate: ``(..., samples)`` of the module's dtype; more than ``n_fft // 2`` samples.
                With ``per_item``, ``(..., channels, samples)`` or ``(samples,)``.
            ground_truth: The same shape.
            lengths: Samples that count, ``(batch,)``; all if None.

        Returns:
            ``rvm``, the mean over all bands, and ``rvm_0``, ``rvm_1``, ... for groups of bands from
            low to high: scalars, or one value per item. NaN in a signal makes its scores NaN.

        Raises:
            ShapeError: The shapes differ, a signal is too short, or a dtype is another one. It is
                a RuntimeError too.
        """
        estimate, ground_truth = self._check(estimate, ground_truth)
        keep = min(estimate.ndim, 2) if self.per_item else 1
        cuts = item_lengths(lengths, estimate.shape, keep=keep)
        if min(cuts) <= self.n_fft // 2:
            raise RelativeVolumeInputError(
                f"a signal has {min(cuts)} samples; expected more than n_fft // 2 = "
                f"{self.n_fft // 2}"
            )
        rest = estimate.shape[estimate.ndim - keep :]
        pairs = zip(estimate.reshape(-1, *rest), ground_truth.reshape(-1, *rest), strict=True)
        items = [(e[..., :cut], t[..., :cut]) for (e, t), cut in zip(pairs, cuts, strict=True)]
        if self.per_item:
            bands = torch.stack([self._bands([item]) for item in items])
            bands = bands.reshape(*estimate.shape[: estimate.ndim - keep], -1)
        elif lengths is None:
            bands = self._bands([(estimate, ground_truth)])
        else:
            bands = self._bands(items)
        groups = bands.chunk(self.num_aggregated_bands, dim=-1)
        metrics = {f"rvm_{index}": group.mean(-1) for index, group in enumerate(groups)}
        metrics["rvm"] = bands.mean(-1)
        return metrics

    def _check(self, estimate: Tensor, ground_truth: Tensor) -> tuple[Tensor, Tensor]:
        if estimate.shape != ground_truth.shape:
            raise RelativeVolumeInputError(
                f"estimate has shape {tuple(estimate.shape)} but ground_truth "
                f"{tuple(ground_truth.shape)}; they must be equal (nothing is broadcast)"
            )
        if not estimate.ndim or not estimate.numel():
            raise RelativeVolumeInputError(
                f"estimate has shape {tuple(estimate.shape)}; expected (..., samples), not empty"
            )
        dtype = self.filters.dtype
        for name, x in (("estimate", estimate), ("ground_truth", ground_truth)):
            if not x.is_floating_point() or torch.promote_types(x.dtype, dtype) != dtype:
                raise RelativeVolumeInputError(
                    f"{name} has dtype {x.dtype}, but the module {dtype}; "
                    f"use {name}.to({dtype}), or metric.to({name}.dtype) for floating point"
                )
        return estimate.to(dtype), ground_truth.to(dtype)

    def _level(self, power: Tensor) -> Tensor:
        return power.sqrt().clamp(min=db_to_scale(float(-self.max_initial_gain)))

    def _relative(self, estimate: Tensor, ground_truth: Tensor) -> Tensor:
        """Mean over frames of the relative volume, ``(..., n_mels)``."""
        values = relative_volume_mel(
            estimate,
            ground_truth,
            filters=self.filters,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            min_relative_volume=self.min_relative_volume,
            max_relative_volume=self.max_relative_volume,
            min_activity_volume=self.min_activity_volume,
        )
        return values.mean(-1)

    def _bands(self, items: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Compare items with one level for all; every frame counts alike. Returns ``(n_mels,)``."""
        energy = torch.stack([truth.square().mean() * truth.numel() for _, truth in items])
        level = self._level(energy.sum() / sum(truth.numel() for _, truth in items))
        bands, frames = [], []
        for estimate, truth in items:
            values = self._relative(estimate / level, truth / level)
            bands.append(values.reshape(-1, values.shape[-1]).mean(0))
            frames.append(truth.shape[:-1].numel() * (1 + truth.shape[-1] // self.hop_length))
        if len(items) == 1:
            return bands[0]
        weights = torch.tensor(frames, dtype=bands[0].dtype, device=bands[0].device)
        return (torch.stack(bands) * weights[:, None]).sum(0) / weights.sum()


class RVM(Accumulator):
    """Relative volume mel of each target by itself, without empty bands.

    See :class:`RelativeVolumeMel`, whose other defaults hold at any sample rate.
    """

    name: ClassVar[str] = "rvm"
    value_names: ClassVar[tuple[str, ...]] = ("rvm", "rvm_0", "rvm_1", "rvm_2", "rvm_3")
    higher_is_better: ClassVar[bool | None] = False

    def __init__(self, *, sample_rate: int) -> None:
        """Start without scores; see :class:`Accumulator`."""
        super().__init__(sample_rate=sample_rate)
        self._metric = RelativeVolumeMel(sample_rate, per_item=True, skip_empty_bands=True).double()

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``rvm`` and its four groups of bands."""
        check_finite(estimate, name="estimate")
        check_finite(reference, name="reference")
        if estimate.shape[-1] <= self._metric.n_fft // 2:
            raise AudioError(
                f"{estimate.shape[-1]} samples are too few; expected more than "
                f"{self._metric.n_fft // 2}"
            )
        metric = self._metric.to(estimate.device)
        values: dict[str, Tensor] = metric(estimate.double(), reference.double())
        return values
