import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100
GRID = torch.linspace(5, 22_000, 500, dtype=torch.float64)


@pytest.mark.parametrize("order", [2, 4, 8])
def test_linkwitz_riley_is_two_butterworth_filters(order):
    low, high = F.linkwitz_riley(order, 1000.0, sample_rate=RATE)
    sign = -1 if order == 2 else 1
    for ours, kind, turn in ((low, "low", 1), (high, "high", sign)):
        sos = signal.butter(order // 2, 1000, kind, fs=RATE, output="sos")
        _, expected = signal.sosfreqz(sos, GRID.numpy(), fs=RATE)
        actual = F.frequency_response(ours, GRID, sample_rate=RATE)
        np.testing.assert_allclose(actual, turn * expected**2, atol=1e-9)
        at_split = F.frequency_response(ours, 1000.0, sample_rate=RATE).abs()
        assert 20 * at_split.log10() == pytest.approx(20 * np.log10(0.5), abs=1e-9)


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("splits", [[800.0], [200.0, 2000.0], [100.0, 400.0, 500.0, 9000.0]])
def test_bands_sum_flat(order, splits):
    bands = F.crossover_sections(splits, sample_rate=RATE, order=order)
    assert bands.shape[0] == len(splits) + 1
    total = F.frequency_response(bands, GRID, sample_rate=RATE).sum(0)
    np.testing.assert_allclose(total.abs(), 1.0, atol=1e-9)


def test_bands_keep_their_part():
    bands = F.crossover_sections([200.0, 2000.0], sample_rate=RATE, order=8)
    level = F.frequency_response(bands, torch.tensor([50.0, 600.0, 8000.0]), sample_rate=RATE).abs()
    np.testing.assert_allclose(level, np.eye(3), atol=1e-3)


def test_one_crossover_per_item():
    splits = torch.tensor([[200.0, 2000.0], [300.0, 3000.0]])
    bands = F.crossover_sections(splits, sample_rate=RATE)
    alone = F.crossover_sections([300.0, 3000.0], sample_rate=RATE)
    assert bands.shape == (3, 2, *alone.shape[1:])
    torch.testing.assert_close(bands[:, 1], alone)


def test_refuses():
    with pytest.raises(ParameterError, match="order is 6; expected 2, 4 or 8"):
        F.linkwitz_riley(6, 100.0, sample_rate=RATE)
    with pytest.raises(ShapeError, match=r"expected \(..., n\)"):
        F.crossover_sections(torch.tensor(100.0), sample_rate=RATE)
