"""The mathematics of sound, each piece once: pure functions of tensors."""

from sonograd.functional.masking import (
    center_mask,
    harmonic_percussive_masks,
    repetition_mask,
    soft_mask,
)
from sonograd.functional.order_statistics import median, median_filter
from sonograd.functional.ratios import sa_sdr, sd_sdr, sdr, si_sdr, snr
from sonograd.functional.scales import amplitude_to_db, db_to_amplitude
from sonograd.functional.spectral import istft, overlap_add, stft
from sonograd.functional.windows import blackman, blackman_harris, hamming, hann, kaiser, sine

__all__ = [
    "amplitude_to_db",
    "blackman",
    "blackman_harris",
    "center_mask",
    "db_to_amplitude",
    "hamming",
    "hann",
    "harmonic_percussive_masks",
    "istft",
    "kaiser",
    "median",
    "median_filter",
    "overlap_add",
    "repetition_mask",
    "sa_sdr",
    "sd_sdr",
    "sdr",
    "si_sdr",
    "sine",
    "snr",
    "soft_mask",
    "stft",
]
