"""The sums that replace spectra."""

import numpy as np
import pytest
import torch

from sonograd.training.statistics import frame_spectrum, spectral_statistics

GRID = np.array([0, 1, 2, 4, 8, 17, 33])


def _example(channels=2, dtype=torch.complex64):
    spectra = torch.randn(2, 3, channels, 5, 33, dtype=dtype)
    gains = torch.rand(2, 3, 33, dtype=spectra.real.dtype) + 0.5
    return spectra, gains


@pytest.mark.parametrize("channels", [1, 2])
def test_compiled_equals_torch(channels):
    pytest.importorskip("numba")
    spectra, gains = _example(channels)
    ours = spectral_statistics(spectra, gains, GRID, compiled=True)
    theirs = spectral_statistics(spectra, gains, GRID, compiled=False)
    for name in ("powers", "correlations", "energies"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=2e-5, atol=2e-5)
    assert (ours.cross is None) == (channels == 1)
    if channels == 2:
        torch.testing.assert_close(ours.cross, theirs.cross, rtol=2e-5, atol=2e-5)


def test_error_of_a_mask_follows_from_the_sums():
    spectra, gains = _example(dtype=torch.complex128)
    sums = spectral_statistics(spectra, gains, GRID, compiled=False)
    masks = torch.rand(2, 3, 2, 5, len(GRID) - 1, dtype=torch.float64)
    powers, correlations = sums.powers[:, None], sums.correlations
    ours = (masks * (masks * powers - 2 * correlations)).sum((2, 3, 4)) + sums.energies
    stems = spectra * gains[:, :, None, None]
    wide = masks.repeat_interleave(torch.as_tensor(np.diff(GRID)), dim=-1)
    error = wide * stems.sum(1, keepdim=True) - stems
    torch.testing.assert_close(ours, error.abs().square().sum((2, 3, 4)))


def test_frame_spectrum_is_a_centered_stft():
    x, window = torch.randn(2, 3, 1000), torch.hann_window(128)
    ours = frame_spectrum(x, window, 32)
    theirs = torch.stft(
        x.flatten(0, 1), 128, 32, window=window, pad_mode="constant", return_complex=True
    )
    torch.testing.assert_close(ours.flatten(0, 1).mT, theirs, rtol=1e-4, atol=1e-4)
