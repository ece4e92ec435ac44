import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100


@pytest.mark.parametrize(("bands", "q"), [(10, 2**0.5), (31, 4.318)])
def test_gains_are_met_at_every_center(bands, q):
    centers = F.graphic_eq_centers(bands, sample_rate=RATE)
    assert len(centers) == bands
    zigzag = 12 * (-1.0) ** torch.arange(bands)
    one = torch.zeros(bands)
    one[bands // 2] = -24.0
    for gains in (zigzag, one, torch.full((bands,), 12.0), 8 * torch.randn(5, bands)):
        sections = F.graphic_eq_sections(gains, centers, q, sample_rate=RATE)
        response = F.frequency_response(sections, centers, sample_rate=RATE).abs()
        torch.testing.assert_close(20 * response.log10(), gains.double(), rtol=0, atol=1e-8)


def test_without_solving_the_bands_would_add_up():
    """What the solution is for: ten bells of 12 dB in a row make far more."""
    centers = F.graphic_eq_centers(10, sample_rate=RATE)
    naive = F.peak_biquad(centers, 12.0, 2**0.5, sample_rate=RATE)
    response = F.frequency_response(naive, centers, sample_rate=RATE).abs()
    assert 20 * response.log10().max() > 18


def test_bands_above_half_of_the_rate_do_not_exist():
    assert len(F.graphic_eq_centers(10, sample_rate=16_000)) == 8
    with pytest.raises(ParameterError, match="bands is 7; expected 10 or 31"):
        F.graphic_eq_centers(7, sample_rate=RATE)


def test_first_and_second_derivatives():
    centers = F.graphic_eq_centers(10, sample_rate=RATE)[:5]
    gains = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def run(gains):
        return F.graphic_eq_sections(gains, centers, 1.4, sample_rate=RATE)

    assert torch.autograd.gradcheck(run, gains)
    assert torch.autograd.gradgradcheck(run, gains)


def test_refuses():
    with pytest.raises(ShapeError, match=r"expected \(..., bands\)"):
        F.graphic_eq_sections(torch.zeros(3), torch.ones(4), 1.0, sample_rate=RATE)
