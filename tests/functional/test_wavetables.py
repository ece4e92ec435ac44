import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.functional import harmonic_table, wavetable_oscillator


def test_table_holds_its_harmonics():
    amplitudes = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)
    turn = torch.arange(64, dtype=torch.float64) / 64
    expected = torch.sin(2 * torch.pi * turn) + 0.5 * torch.sin(6 * torch.pi * turn)
    torch.testing.assert_close(harmonic_table(amplitudes, size=64), expected)
    cosine = harmonic_table(amplitudes[:1], phases=0.25, size=64)
    torch.testing.assert_close(cosine, torch.cos(2 * torch.pi * turn))


def test_oscillator_plays_the_table():
    table = harmonic_table(torch.ones(1, dtype=torch.float64), size=4096)
    hz = torch.full((800,), 100.0, dtype=torch.float64)
    y = wavetable_oscillator(hz, table, sample_rate=8000, phase=0.125)
    turn = torch.arange(800, dtype=torch.float64) * 100 / 8000 + 0.125
    torch.testing.assert_close(y, torch.sin(2 * torch.pi * turn), atol=2e-6, rtol=0)


def test_oscillator_is_differentiable():
    table = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table.requires_grad_()
    hz = torch.full((9,), 37.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda t: wavetable_oscillator(hz, t, sample_rate=1000.0), (table,)
    )


def test_too_small_a_table_is_refused():
    with pytest.raises(ShapeError, match="size is 8"):
        harmonic_table(torch.ones(4), size=8)
