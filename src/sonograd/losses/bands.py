"""Spectral losses on bands instead of bins: mel and chroma."""

import warnings

import torch
from torch import Tensor

from sonograd.functional.filterbanks import chroma_filterbank, mel_filterbank
from sonograd.losses.base import Reduction
from sonograd.losses.spectral import Distance, STFTLoss

__all__ = ["ChromaSTFT", "MelSTFT"]


class _BandSTFT(STFTLoss):
    """Base of losses on magnitudes that were summed into bands."""

    bank: Tensor

    def __init__(
        self,
        bank: Tensor,
        *,
        n_fft: int,
        hop_length: int | None,
        win_length: int | None,
        window: str,
        convergence: float,
        log_magnitude: float,
        magnitude: float,
        distance: Distance,
        scale_invariant: bool,
        floor: float,
        quiet: float,
        batch_coupled: bool,
        reduction: Reduction,
    ) -> None:
        super().__init__(
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            convergence=convergence,
            log_magnitude=log_magnitude,
            magnitude=magnitude,
            distance=distance,
            scale_invariant=scale_invariant,
            floor=floor,
            quiet=quiet,
            batch_coupled=batch_coupled,
            reduction=reduction,
        )
        empty = bank.amax(dim=-1) <= 0
        if empty.any():
            warnings.warn(
                f"{int(empty.sum())} of {len(bank)} bands are narrower than a bin and hold none; "
                "they are left out. Use fewer bands or a longer transform.",
                stacklevel=3,
            )
        self.register_buffer("bank", bank[~empty], persistent=False)

    def transform_magnitude(self, magnitude: Tensor) -> Tensor:
        """Map ``(..., bins, frames)`` to ``(..., bands, frames)``."""
        return self.bank.to(magnitude) @ magnitude


class MelSTFT(_BandSTFT):
    """:class:`STFTLoss` of magnitudes summed into mel bands (Slaney's scale, equal areas).

    Silence is as in :class:`STFTLoss`; each bin has the floor before it is summed.
    """

    def __init__(
        self,
        *,
        sample_rate: float,
        n_mels: int = 128,
        n_fft: int = 1024,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: str = "hann",
        convergence: float = 1.0,
        log_magnitude: float = 1.0,
        magnitude: float = 0.0,
        distance: Distance = "l1",
        scale_invariant: bool = False,
        floor: float = 1e-4,
        quiet: float = 1e-3,
        batch_coupled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the bands; everything else is as in :class:`STFTLoss`.

        Args:
            sample_rate: In Hz.
            n_mels: Number of bands; those without a bin are left out, with a warning.
            n_fft: As in :class:`STFTLoss`.
            hop_length: As in :class:`STFTLoss`.
            win_length: As in :class:`STFTLoss`.
            window: As in :class:`STFTLoss`.
            convergence: As in :class:`STFTLoss`.
            log_magnitude: As in :class:`STFTLoss`.
            magnitude: As in :class:`STFTLoss`.
            distance: As in :class:`STFTLoss`.
            scale_invariant: As in :class:`STFTLoss`.
            floor: As in :class:`STFTLoss`.
            quiet: As in :class:`STFTLoss`.
            batch_coupled: As in :class:`STFTLoss`.
            reduction: As in :class:`STFTLoss`.
        """
        bank = mel_filterbank(
            sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, dtype=torch.float64
        )
        super().__init__(
            bank,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            convergence=convergence,
            log_magnitude=log_magnitude,
            magnitude=magnitude,
            distance=distance,
            scale_invariant=scale_invariant,
            floor=floor,
            quiet=quiet,
            batch_coupled=batch_coupled,
            reduction=reduction,
        )


class ChromaSTFT(_BandSTFT):
    """:class:`STFTLoss` of magnitudes summed into pitch classes: harmony, not register.

    Silence is as in :class:`STFTLoss`; each bin has the floor before it is summed.
    """

    def __init__(
        self,
        *,
        sample_rate: float,
        n_chroma: int = 12,
        n_fft: int = 4096,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: str = "hann",
        convergence: float = 1.0,
        log_magnitude: float = 1.0,
        magnitude: float = 0.0,
        distance: Distance = "l1",
        scale_invariant: bool = False,
        floor: float = 1e-4,
        quiet: float = 1e-3,
        batch_coupled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the classes; everything else is as in :class:`STFTLoss`.

        Args:
            sample_rate: In Hz.
            n_chroma: Pitch classes per octave.
            n_fft: As in :class:`STFTLoss`.
            hop_length: As in :class:`STFTLoss`.
            win_length: As in :class:`STFTLoss`.
            window: As in :class:`STFTLoss`.
            convergence: As in :class:`STFTLoss`.
            log_magnitude: As in :class:`STFTLoss`.
            magnitude: As in :class:`STFTLoss`.
            distance: As in :class:`STFTLoss`.
            scale_invariant: As in :class:`STFTLoss`.
            floor: As in :class:`STFTLoss`.
            quiet: As in :class:`STFTLoss`.
            batch_coupled: As in :class:`STFTLoss`.
            reduction: As in :class:`STFTLoss`.
        """
        bank = chroma_filterbank(
            sample_rate=sample_rate, n_fft=n_fft, n_chroma=n_chroma, dtype=torch.float64
        )
        super().__init__(
            bank,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            convergence=convergence,
            log_magnitude=log_magnitude,
            magnitude=magnitude,
            distance=distance,
            scale_invariant=scale_invariant,
            floor=floor,
            quiet=quiet,
            batch_coupled=batch_coupled,
            reduction=reduction,
        )
