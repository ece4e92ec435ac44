"""Losses: modules with ``forward(estimate, reference)``, finite on silence."""

from sonograd.losses.balancer import Balancer
from sonograd.losses.bands import ChromaSTFT, MelSTFT
from sonograd.losses.base import Criterion, Loss, Reduction
from sonograd.losses.complex_stft import ComplexMultiResolution, SpectralMagnitude
from sonograd.losses.masks import (
    ComponentLoss,
    KLDivergence,
    MaskCriterion,
    MaskLoss,
    OnMagnitudes,
    kl_divergence,
)
from sonograd.losses.perceptual import AWeighting, KWeighting, LogWMSE, PreEmphasis, Prefiltered
from sonograd.losses.permutation import MixtureInvariant, PermutationInvariant
from sonograd.losses.ratios import SASDR, SDSDR, SISDR, SNR, LogEnergy, ThresholdedSNR
from sonograd.losses.resolutions import (
    MultiResolutionSTFT,
    RandomResolutionSTFT,
    SumAndDifferenceSTFT,
)
from sonograd.losses.rvm import RelativeVolumeMelLoss
from sonograd.losses.spectral import STFTLoss
from sonograd.losses.waveform import DC, ESR, L1, L1SNR, L2, RMSE, LogCosh, QuantileMasked

__all__ = [
    "DC",
    "ESR",
    "L1",
    "L1SNR",
    "L2",
    "RMSE",
    "SASDR",
    "SDSDR",
    "SISDR",
    "SNR",
    "AWeighting",
    "Balancer",
    "ChromaSTFT",
    "ComplexMultiResolution",
    "ComponentLoss",
    "Criterion",
    "KLDivergence",
    "KWeighting",
    "LogCosh",
    "LogEnergy",
    "LogWMSE",
    "Loss",
    "MaskCriterion",
    "MaskLoss",
    "MelSTFT",
    "MixtureInvariant",
    "MultiResolutionSTFT",
    "OnMagnitudes",
    "PermutationInvariant",
    "PreEmphasis",
    "Prefiltered",
    "QuantileMasked",
    "RandomResolutionSTFT",
    "Reduction",
    "RelativeVolumeMelLoss",
    "STFTLoss",
    "SpectralMagnitude",
    "SumAndDifferenceSTFT",
    "ThresholdedSNR",
    "kl_divergence",
]
