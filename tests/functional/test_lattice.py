import numpy as np
import pytest
import torch
from scipy import signal
from scipy.linalg import solve_toeplitz

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 16_000


def _reflections(*shape):
    return torch.rand(*shape, dtype=torch.float64) * 1.8 - 0.9


def test_step_up_and_down_are_opposites():
    k = _reflections(3, 2, 10)
    polynomial = F.reflections_to_polynomial(k)
    assert polynomial.shape == (3, 2, 11)
    torch.testing.assert_close(F.polynomial_to_reflections(polynomial), k)
    assert F.polynomial_to_reflections(torch.ones(4, 1)).shape == (4, 0)
    assert max(abs(np.roots(p)).max() for p in polynomial.reshape(-1, 11).numpy()) < 1


def test_formants_are_pairs_of_poles():
    centers, widths = torch.tensor([700.0, 1220.0, 2600.0]), torch.tensor([80.0, 90.0, 120.0])
    polynomial = F.formant_polynomial(centers.double(), widths.double(), sample_rate=RATE)
    poles = np.roots(polynomial.numpy())
    poles = sorted(poles[poles.imag > 0], key=np.angle)
    np.testing.assert_allclose(np.angle(poles) * RATE / 2 / np.pi, centers, rtol=1e-6)
    np.testing.assert_allclose(-np.log(np.abs(poles)) * RATE / np.pi, widths, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 9, 18])
@pytest.mark.parametrize("hop_length", [1, 7, 64, 2000])
def test_steady_lattice_is_the_all_pole_filter(rng, order, hop_length):
    k = _reflections(1, 1, order)
    x = rng.standard_normal((2, 300))
    y, _ = F.lattice_filter(torch.from_numpy(x), k, hop_length=hop_length)
    gain = float((1 - k.square()).sqrt().prod())
    polynomial = F.reflections_to_polynomial(k)[0, 0].numpy()
    np.testing.assert_allclose(y, signal.lfilter([gain], polynomial, x), atol=1e-10)


def _sample_by_sample(x, reflections, hop_length):
    """The normalized lattice as it is drawn: one rotation per stage and sample."""
    frames, order = reflections.shape
    state, heard = np.zeros(order), []
    for n, sample in enumerate(x):
        k = reflections[min(n // hop_length, frames - 1)]
        c = np.sqrt(1 - k**2)
        forward, backward = sample, np.zeros(order)
        for m in range(order - 1, -1, -1):
            backward[m] = k[m] * forward + c[m] * state[m]
            forward = c[m] * forward - k[m] * state[m]
        state = np.concatenate([[forward], backward[:-1]])
        heard.append(forward)
    return np.array(heard)


def test_moving_lattice_is_the_one_computed_sample_by_sample(rng):
    k = _reflections(2, 5, 6)
    x = rng.standard_normal((2, 100))
    y, _ = F.lattice_filter(torch.from_numpy(x), k, hop_length=17)
    for row in range(2):
        expected = _sample_by_sample(x[row], k[row].numpy(), 17)
        np.testing.assert_allclose(y[row], expected, atol=1e-11)


def test_goes_on_at_a_frame():
    k, x = _reflections(1, 6, 4), torch.randn(2, 300, dtype=torch.float64)
    whole, _ = F.lattice_filter(x, k, hop_length=50)
    first, state = F.lattice_filter(x[:, :120], k, hop_length=50)
    again, _ = F.lattice_filter(x[:, 100:], k[:, 2:], hop_length=50, state=state)
    torch.testing.assert_close(first, whole[:, :120])
    torch.testing.assert_close(again, whole[:, 100:])


def test_never_makes_energy():
    """Reflections that jump at every other sample: what comes out is not more than what goes in."""
    k = torch.sign(_reflections(1, 400, 8)) * 0.999
    x = torch.zeros(1, 800, dtype=torch.float64)
    x[:, 0] = 1
    y, state = F.lattice_filter(x, k, hop_length=2)
    assert y.square().sum() <= 1 + 1e-12
    assert state.square().sum() <= 1 + 1e-12


def test_white_noise_keeps_its_variance():
    k = F.polynomial_to_reflections(
        F.formant_polynomial(
            torch.tensor([[700.0, 1220.0, 2600.0]]).double(),
            torch.tensor([[130.0, 70.0, 160.0]]).double(),
            sample_rate=RATE,
        )
    )
    noise = F.seeded_noise(torch.arange(8), 40_000, dtype=torch.float64)
    y, _ = F.lattice_filter(noise, k[None], hop_length=64)
    assert y.var() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("order", [1, 8, 18])
def test_linear_prediction(rng, order):
    x = signal.lfilter([1.0], [1, -1.6, 0.9], rng.standard_normal(4000)) * np.hanning(4000)
    k, level = F.linear_prediction(torch.from_numpy(x), order)
    r = np.correlate(x, x, "full")[3999 : 4000 + order] / 4000
    expected = np.concatenate([[1.0], solve_toeplitz(r[:-1], -r[1:])])
    np.testing.assert_allclose(F.reflections_to_polynomial(k), expected, atol=1e-8)
    assert float(level) ** 2 == pytest.approx(float(expected @ r), rel=1e-8)


def test_prediction_of_silence():
    x = torch.zeros(2, 50, requires_grad=True)
    k, level = F.linear_prediction(x, 4)
    assert (k == 0).all()
    assert level.max() < 1e-12
    (k.sum() + level.sum()).backward()
    assert x.grad.isfinite().all()


def test_gradients():
    k = _reflections(2, 3, 3).requires_grad_()
    x = torch.randn(2, 11, dtype=torch.float64, requires_grad=True)
    state = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def run(x, k, state):
        return F.lattice_filter(x, k, hop_length=4, state=state)

    assert torch.autograd.gradcheck(run, (x, k, state))
    polynomial = F.reflections_to_polynomial(_reflections(2, 4)).requires_grad_()
    assert torch.autograd.gradcheck(F.polynomial_to_reflections, polynomial)
    assert torch.autograd.gradcheck(lambda x: F.linear_prediction(x, 3), x)


def test_refuses():
    with pytest.raises(ShapeError, match=r"x and reflections have shapes \(5,\)"):
        F.lattice_filter(torch.ones(5), torch.ones(1, 1, 2), hop_length=4)
    with pytest.raises(ParameterError, match="hop_length is 0"):
        F.lattice_filter(torch.ones(1, 5), torch.ones(1, 1, 2), hop_length=0)
    with pytest.raises(ParameterError, match="reflections have order 65"):
        F.lattice_filter(torch.ones(1, 5), torch.zeros(1, 1, 65), hop_length=4)
    with pytest.raises(ParameterError, match="order is 0"):
        F.linear_prediction(torch.ones(5), 0)
    y, state = F.lattice_filter(torch.ones(1, 0), torch.zeros(1, 1, 3), hop_length=4)
    assert y.shape == (1, 0)
    assert state.shape == (1, 3)
