"""What is minimized in training, by name.

A criterion sees a batch of stems and the model. Those on waveforms compare stems; they train any
separator. Those on magnitudes and masks need a network that estimates masks. For a
:class:`~sonograd.separators.TFCTDFUNet`, ``log_energy`` takes a shortcut that gives the error of
its masks on spectra without computing a single waveform, see :mod:`sonograd.training.statistics`.
"""

from typing import Protocol, assert_never, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import Chunk
from sonograd.errors import ConfigError
from sonograd.losses import (
    L1,
    L2,
    RMSE,
    SISDR,
    ComponentLoss,
    Criterion,
    KLDivergence,
    LogEnergy,
    MaskCriterion,
    MaskLoss,
    MultiResolutionSTFT,
    OnMagnitudes,
    PermutationInvariant,
)
from sonograd.separators.base import MaskEstimate, Separator
from sonograd.separators.default import TFCTDFUNet, log_features
from sonograd.separators.unet import SpectrogramNetVAE
from sonograd.training.statistics import SpectralStatistics, frame_spectrum, spectral_statistics

__all__ = [
    "apply_equalizer",
    "check_criterion",
    "make_criterion",
    "mask_log_energy",
    "mix_and_reference",
    "sounding",
    "training_loss",
]

#: Errors below -25 dB of the mix do not count.
_FLOOR = 10**-2.5
#: Mean square below which a reference is silent: -70 dB.
_SILENCE = 1e-7


def sounding(reference: Tensor) -> Tensor:
    """Return which of the signals ``(..., samples)`` are not silent, ``(...)``."""
    return reference.square().mean(dim=-1) > _SILENCE


class _SISDRWhereItSounds(SISDR):
    """SI-SDR that is 0, without gradient, where the reference is silent and it has no meaning.

    The loss itself would be the energy of the estimate in dB there, a hundred dB above all others,
    and would pull masks down wherever they are, which no other stem would oppose.
    """

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        values = super().per_item(estimate, reference)
        return torch.where(sounding(reference), values, torch.zeros_like(values))


class _MaskNetwork(Protocol):
    """What criteria on spectra ask of a separator."""

    def estimate(self, mix: Tensor) -> MaskEstimate: ...

    def transform(self, audio: Tensor) -> Tensor: ...


def training_loss(separator: Separator, batch: Chunk, config: TrainingConfig) -> Tensor:
    """Return the loss of one batch, a scalar.

    Args:
        separator: The model, in training mode.
        batch: Stems of which the first are those of the model, perhaps followed by a rest.
        config: Its ``criterion``, and what belongs to it.
    """
    shortcut = config.criterion == "log_energy" and config.reduction == "mean"
    if shortcut and isinstance(separator, TFCTDFUNet):
        return mask_log_energy(separator, batch)
    loss = make_criterion(config)
    mix, reference = mix_and_reference(batch, len(separator.stems))
    if isinstance(loss, MaskCriterion):
        network = cast("_MaskNetwork", separator)
        estimate = network.estimate(mix)
        with torch.autocast(mix.device.type, enabled=False):
            return cast("Tensor", loss(estimate, network.transform(reference)))
    stems = separator(mix).to(reference.dtype)
    with torch.autocast(mix.device.type, enabled=False):
        if config.criterion == "log_energy":
            level = mix.square().mean(dim=(-2, -1)).sqrt()[:, None, None, None] + 1e-8
            stems, reference = stems / level, reference / level
        return cast("Tensor", loss(stems, reference))


def mix_and_reference(batch: Chunk, count: int) -> tuple[Tensor, Tensor]:
    """Return the mix of a batch, and the first ``count`` of its stems."""
    stems = apply_equalizer(batch.stems, batch.equalizer)
    return stems.sum(dim=1), stems[:, :count]


def make_criterion(config: TrainingConfig) -> Criterion:
    """Return the loss that a configuration means.

    ``si_sdr``, ``rmse``, ``log_energy`` and ``stft`` compare stems, ``l1`` and ``l2`` magnitudes,
    ``component`` and ``mask`` what the masks do, and ``kl_div`` magnitudes and the latent of a
    variational network. Silent references count 0 in ``si_sdr``, which is not defined for them.
    None of them says anything about NaN: training itself looks for it.
    """
    reduction = config.reduction
    loss: Criterion
    match config.criterion:
        case "log_energy":
            loss = LogEnergy(reduction=reduction)
        case "si_sdr" if config.best_perm:
            loss = PermutationInvariant(_SISDRWhereItSounds(), reduction=reduction)
        case "si_sdr":
            loss = _SISDRWhereItSounds(reduction=reduction)
        case "rmse":
            loss = RMSE(reduction=reduction)
        case "stft":
            loss = MultiResolutionSTFT(reduction=reduction)
        case "l1":
            loss = OnMagnitudes(L1(), reduction=reduction)
        case "l2":
            loss = OnMagnitudes(L2(), reduction=reduction)
        case "kl_div":
            loss = KLDivergence(distance=config.construction_loss, reduction=reduction)
        case "mask":
            loss = MaskLoss(reduction=reduction)
        case "component":
            shape = max(1.0 - config.alpha - config.beta, 0.0)
            loss = ComponentLoss(alpha=config.beta, beta=shape, reduction=reduction)
        case _:
            assert_never(config.criterion)
    loss.check_finite = False
    return loss


def check_criterion(separator: Separator, config: TrainingConfig) -> None:
    """Refuse a criterion that does not fit a separator.

    Raises:
        ConfigError: If it needs masks or a latent that the separator does not have.
    """
    name, criterion = type(separator).__name__, config.criterion
    if isinstance(make_criterion(config), MaskCriterion) and not hasattr(separator, "estimate"):
        raise ConfigError(
            "criterion", [f"{criterion} needs masks, which {name} does not have; try si_sdr."]
        )
    if criterion == "kl_div" and not isinstance(separator, SpectrogramNetVAE):
        raise ConfigError(
            "criterion",
            [f"kl_div needs a variational network, not {name}; try l2, or SpectrogramNetVAE."],
        )


def apply_equalizer(stems: Tensor, curves: Tensor) -> Tensor:
    """Filter ``(batch, stems, channels, samples)`` by ``(batch, stems, bins)``, without delay."""
    spectrum = torch.fft.rfft(stems)
    flat = curves.reshape(1, -1, curves.shape[-1])
    gains = F.interpolate(flat, size=spectrum.shape[-1], mode="linear", align_corners=True)
    gains = gains.reshape(*curves.shape[:-1], 1, spectrum.shape[-1])
    filtered: Tensor = torch.fft.irfft(spectrum * gains, n=stems.shape[-1])
    return filtered


def mask_log_energy(separator: TFCTDFUNet, batch: Chunk) -> Tensor:
    r"""Return the mean of :math:`\lg(e_j + 10^{-2.5})` over items and stems.

    :math:`e_j` is the energy of the error of the mask of stem :math:`j`, divided by that of the
    mix. A stem's gradient thus does not shrink when it is quiet, until its error is 25 dB below
    the mix; silent stems and silent mixes are harmless.
    """
    config = separator.config
    samples = batch.stems.shape[-1]
    with torch.no_grad(), torch.autocast(batch.stems.device.type, enabled=False):
        window = separator.window / separator.window.square().sum().sqrt()
        spectra = frame_spectrum(batch.stems, window, config.hop_length)
        sums = spectral_statistics(spectra, batch.equalizer, separator.grid)
        scale = 2 * config.hop_length / (config.num_fft * samples * separator.channels)
        features, inverse = _normalized_features(separator, sums, scale)
    logits = separator.logits(features)
    with torch.autocast(batch.stems.device.type, enabled=False):
        masks = torch.softmax(logits.float(), dim=1)[:, : len(separator.stems)]
        count = masks.shape[1]
        error = masks * (masks * sums.powers[:, None] - 2 * sums.correlations[:, :count])
        energy = error.sum(dim=(2, 3, 4)) + sums.energies[:, :count]
        relative = (energy * inverse * scale).clamp(min=0.0)
        return torch.log10(relative + _FLOOR).mean()


def _normalized_features(
    separator: TFCTDFUNet, sums: SpectralStatistics, scale: float
) -> tuple[Tensor, Tensor]:
    """Return what the network sees of the mix at unit level, and 1 / level², ``(batch, 1)``."""
    level = sums.powers.sum(dim=(1, 2, 3)) * scale
    inverse = 1 / (level + 1e-12)
    widths = torch.as_tensor(separator.grid, device=level.device).diff()
    factor = inverse[:, None, None] / widths
    cross = None if sums.cross is None else sums.cross * factor
    return log_features(sums.powers * factor[:, None], cross), inverse[:, None]
