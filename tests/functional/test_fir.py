import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100


def _magnitude(bins=513):
    points = torch.tensor([100.0, 1000.0, 8000.0])
    gains = torch.tensor([6.0, -6.0, 3.0], dtype=torch.float64)
    return F.interpolate_response(points, gains, bins, sample_rate=RATE)


def test_linear_phase_matches_scipy():
    magnitude = _magnitude()
    kernel = F.linear_phase_fir(magnitude, 201)
    window = signal.get_window("boxcar", 201)
    plain = signal.firwin2(201, np.linspace(0, 1, 513), magnitude.numpy(), nfreqs=513, window=None)
    expected = plain * window * np.hanning(203)[1:-1]
    np.testing.assert_allclose(kernel, expected, atol=1e-12)
    torch.testing.assert_close(kernel, kernel.flip(-1))


def test_minimum_phase_has_the_magnitude_and_its_zeros_inside():
    magnitude = _magnitude()
    kernel = F.minimum_phase_fir(magnitude, 511)
    actual = np.abs(np.fft.rfft(kernel.numpy(), 1024))
    assert np.abs(20 * np.log10(actual / magnitude.numpy())).max() < 0.2
    assert np.abs(np.roots(kernel.numpy())).max() < 1.0
    linear = F.linear_phase_fir(magnitude, 511)
    early = kernel.square().cumsum(-1) >= linear.square().cumsum(-1) - 1e-9
    assert early.all()


def test_minimum_phase_of_silence_and_zeros_is_finite():
    assert F.minimum_phase_fir(torch.zeros(65), 31).isfinite().all()
    stop = torch.ones(65, dtype=torch.float64)
    stop[20:40] = 0
    assert F.minimum_phase_fir(stop, 31).isfinite().all()


def test_interpolated_response_meets_its_points_and_is_level_outside():
    points = torch.tensor([4 * RATE / 1024, 32 * RATE / 1024, 256 * RATE / 1024])
    gains = torch.tensor([[6.0, -6.0, 3.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
    curve = 20 * F.interpolate_response(points, gains, 513, sample_rate=RATE).log10()
    torch.testing.assert_close(curve[:, [4, 32, 256]], gains, rtol=0, atol=1e-5)
    torch.testing.assert_close(curve[:, [0, 512]], gains[:, [0, 2]], rtol=0, atol=1e-5)
    assert (curve[0] <= 6 + 1e-9).all()
    assert (curve[0] >= -6 - 1e-9).all()
    single = F.interpolate_response(points[:1], gains[:, :1], 33, sample_rate=RATE)
    torch.testing.assert_close(single[0], torch.full((33,), 10**0.3, dtype=torch.float64))


@pytest.mark.parametrize("design", [F.linear_phase_fir, F.minimum_phase_fir])
def test_gradients(design):
    magnitude = (0.2 + torch.rand(9, dtype=torch.float64)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda m: design(m, 7), magnitude)


def test_refuses():
    with pytest.raises(ParameterError, match="taps is 8; expected an odd number"):
        F.linear_phase_fir(torch.ones(33), 8)
    with pytest.raises(ParameterError, match="taps is 65; expected 1 to 64"):
        F.linear_phase_fir(torch.ones(33), 65)
    with pytest.raises(ShapeError, match=r"magnitude has shape \(1,\)"):
        F.minimum_phase_fir(torch.ones(1), 1)
    with pytest.raises(ShapeError, match=r"expected \(points,\)"):
        F.interpolate_response(torch.ones(3), torch.ones(2), 9, sample_rate=RATE)
