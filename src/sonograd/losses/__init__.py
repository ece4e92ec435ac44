"""Losses: modules with ``forward(estimate, reference)``, finite on silence."""

from sonograd.losses.base import Loss
from sonograd.losses.separation import SISDR, LogEnergy
from sonograd.losses.spectral import MultiResolutionSTFT, STFTLoss
from sonograd.losses.waveform import L1, L2

__all__ = ["L1", "L2", "SISDR", "LogEnergy", "Loss", "MultiResolutionSTFT", "STFTLoss"]
