from itertools import pairwise

import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.functional import (
    band_limited_tables,
    band_limited_wavetable,
    harmonic_table,
    wavetable_oscillator,
)


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


def test_versions_have_ever_fewer_harmonics():
    table = torch.randn(2, 64, dtype=torch.float64)
    versions = band_limited_tables(table, oversampling=4)
    assert versions.shape[-1] == 256
    spectrum = torch.fft.rfft(versions, norm="forward")
    counts = (spectrum.abs() > 1e-12).sum(-1)[0].tolist()
    assert counts[0] == 31
    assert counts[-2:] == [1, 0]
    steps = [a / b for a, b in pairwise(counts[:9])]
    assert max(steps) < 1.31
    own = torch.fft.rfft(table, norm="forward")
    torch.testing.assert_close(spectrum[:, 0, 1:32], own[:, 1:32])


def test_a_glide_fades_harmonics_one_by_one():
    """The level of the sound never jumps, and the last harmonic to go is the fundamental."""
    rate = 8000.0
    versions = band_limited_tables(torch.randn(1, 64, dtype=torch.float64))
    hz = torch.linspace(50, 4500, 40_000, dtype=torch.float64)
    y = band_limited_wavetable(hz, versions, sample_rate=rate)
    assert (y[hz > 4000 * 2**0.25] == 0).all()
    smooth = y.square().unfold(-1, 400, 40).mean(-1).sqrt()
    assert smooth.diff().abs().max() < 0.2 * smooth.max()


def test_band_limited_reading_has_true_gradients():
    """Also while two versions are crossfaded, and two tables."""
    versions = band_limited_tables(torch.randn(3, 8, dtype=torch.float64)).requires_grad_()
    hz = torch.linspace(900, 3000, 13, dtype=torch.float64, requires_grad=True)
    position = torch.linspace(0.1, 0.8, 13, dtype=torch.float64, requires_grad=True)

    def play(hz, versions, position):
        return band_limited_wavetable(hz, versions, sample_rate=8000.0, position=position)

    assert torch.autograd.gradcheck(play, (hz, versions, position), eps=1e-7, atol=1e-5)


def test_wrong_rows_of_tables_are_refused():
    with pytest.raises(ShapeError, match=r"tables has shape \(3,\) and oversampling is 4"):
        band_limited_tables(torch.ones(3))
    with pytest.raises(ShapeError, match=r"versions has shape \(3, 8\)"):
        band_limited_wavetable(torch.ones(4), torch.ones(3, 8), sample_rate=8000.0)
