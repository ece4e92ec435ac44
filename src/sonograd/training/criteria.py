"""What is minimized in training, by name.

A criterion sees a batch of stems and the model. Those on waveforms compare stems; they train any
separator. For a :class:`~sonograd.separators.TFCTDFUNet`, ``log_energy`` takes a shortcut that
gives the error of its masks on spectra without computing a single waveform, see
:mod:`sonograd.training.statistics`.
"""

from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from sonograd.config.training import CriterionName
from sonograd.data.chunks import Chunk
from sonograd.losses import L1, L2, SISDR, LogEnergy, Loss, MultiResolutionSTFT
from sonograd.separators.base import Separator
from sonograd.separators.default import TFCTDFUNet, log_features
from sonograd.training.statistics import SpectralStatistics, frame_spectrum, spectral_statistics

__all__ = ["apply_equalizer", "make_criterion", "mask_log_energy", "training_loss"]

#: Errors below -25 dB of the mix do not count.
_FLOOR = 10**-2.5


def training_loss(separator: Separator, batch: Chunk, criterion: CriterionName) -> Tensor:
    """Return the loss of one batch, a scalar.

    Args:
        separator: The model, in training mode.
        batch: Stems of which the first are those of the model, perhaps followed by a rest.
        criterion: Which loss.
    """
    if criterion == "log_energy" and isinstance(separator, TFCTDFUNet):
        return mask_log_energy(separator, batch)
    stems = apply_equalizer(batch.stems, batch.equalizer)
    mix = stems.sum(dim=1)
    reference = stems[:, : len(separator.stems)]
    estimate = separator(mix).to(reference.dtype)
    with torch.autocast(mix.device.type, enabled=False):
        if criterion == "log_energy":
            level = mix.square().mean(dim=(-2, -1)).sqrt()[:, None, None, None] + 1e-8
            estimate, reference = estimate / level, reference / level
        value: Tensor = make_criterion(criterion)(estimate, reference)
        return value


def make_criterion(name: CriterionName) -> Loss:
    """Return the loss on waveforms that is called ``name``."""
    match name:
        case "log_energy":
            return LogEnergy()
        case "si_sdr":
            return SISDR()
        case "l1":
            return L1()
        case "l2":
            return L2()
        case "stft":
            return MultiResolutionSTFT()
        case _:
            assert_never(name)


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
