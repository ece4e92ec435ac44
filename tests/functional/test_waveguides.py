import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100


def _double(*values):
    return tuple(torch.tensor(v, dtype=torch.float64) for v in values)


@pytest.mark.parametrize("delays", [(1, 1), (3, 40), (130, 130), (97, 500)])
def test_loop_is_the_recursive_filter(rng, delays):
    x, taps = rng.standard_normal((2, 1200)), rng.uniform(-0.12, 0.12, (2, 7))
    y = F.delay_loop(torch.from_numpy(x), torch.from_numpy(taps), torch.tensor(delays))
    for row, delay in enumerate(delays):
        denominator = np.concatenate([[1.0], np.zeros(delay - 1), -taps[row]])
        np.testing.assert_allclose(y[row], signal.lfilter([1.0], denominator, x[row]), atol=1e-12)


@pytest.mark.parametrize("cut", [1, 5, 90, 699])
def test_loop_goes_on_from_its_past(rng, cut):
    x = torch.from_numpy(rng.standard_normal((2, 700)))
    taps = torch.from_numpy(rng.uniform(-0.2, 0.2, (2, 4)))
    delay = torch.tensor([3, 100])
    whole = F.delay_loop(x, taps, delay)
    first = F.delay_loop(x[:, :cut], taps, delay)
    second = F.delay_loop(x[:, cut:], taps, delay, past=first)
    torch.testing.assert_close(torch.cat([first, second], -1), whole)


def test_loop_gradients_first_and_second():
    x = torch.randn(2, 14, dtype=torch.float64, requires_grad=True)
    taps = (0.3 * torch.randn(2, 3, dtype=torch.float64)).requires_grad_()
    past = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    delay = torch.tensor([2, 5])

    def run(x, taps, past):
        return F.delay_loop(x, taps, delay, past=past)

    assert torch.autograd.gradcheck(run, (x, taps, past))
    assert torch.autograd.gradgradcheck(run, (x, taps, past))


@pytest.mark.parametrize("frequency_hz", [27.5, 110.0, 440.0, 987.77, 2500.3, 5499.0])
@pytest.mark.parametrize("decay_s", [0.3, 4.0])
def test_the_fundamental_is_a_pole_where_it_should_be(frequency_hz, decay_s):
    """The characteristic equation holds at the pole, to rounding: pitch and decay are exact."""
    taps, delay = F.string_loop(
        *_double([frequency_hz]),
        sample_rate=RATE,
        decay_s=_double([decay_s])[0],
        damping=_double([0.4])[0],
    )
    radius = 10 ** (-3 / (decay_s * RATE))
    pole = radius * np.exp(2j * np.pi * frequency_hz / RATE)
    powers = pole ** -(int(delay) + np.arange(taps.shape[-1]))
    assert abs(taps.numpy()[0] @ powers - 1) < 1e-9
    assert abs(float(taps.sum())) <= 1


@pytest.mark.parametrize("frequency_hz", [41.2, 440.0, 2500.3])
def test_the_sound_is_in_tune(frequency_hz):
    f, decay, damping, bright, pick = _double([frequency_hz], [3.0], [0.3], [0.8], [0.3])
    noise = F.seeded_noise(torch.tensor([4]), 2000, dtype=torch.float64)
    shape = F.plucked_shape(noise, f, sample_rate=RATE, brightness=bright, pick_position=pick)
    x = torch.nn.functional.pad(shape, (0, 2 * RATE - 2000))
    y = F.delay_loop(x, *F.string_loop(f, sample_rate=RATE, decay_s=decay, damping=damping))[0]
    tone = y * torch.polar(
        torch.ones_like(y), -2 * torch.pi * frequency_hz * torch.arange(len(y)).double() / RATE
    )
    window = torch.from_numpy(signal.windows.blackmanharris(RATE // 2 + 1))
    early, late = ((tone[n : n + len(window)] * window).sum() for n in (RATE // 2, RATE))
    cents = 1200 * np.log2(1 + float((late / early).angle()) / np.pi / frequency_hz)
    assert abs(cents) < 0.002
    assert -20 * np.log10(float((late / early).abs())) == pytest.approx(10.0, abs=0.01)


def test_the_pick_leaves_out_what_has_a_node_there():
    f, bright, pick = _double([441.0], [1.0], [0.25])
    noise = F.seeded_noise(torch.tensor([4]), 120, dtype=torch.float64)
    shape = F.plucked_shape(noise, f, sample_rate=RATE, brightness=bright, pick_position=pick)[0]
    assert (shape[100:] == 0).all()
    spectrum = torch.fft.rfft(shape[:100]).abs()
    assert spectrum[[0, 4, 8, 12]].max() < 1e-9
    assert spectrum[[1, 2, 3, 5]].min() > 0.1
    assert shape[:100].square().mean() == pytest.approx(1.0)


def test_dull_and_bright():
    f, bright, pick = _double([441.0, 441.0], [1.0, 0.1], [0.3, 0.3])
    noise = F.seeded_noise(torch.tensor([4, 4]), 100, dtype=torch.float64)
    shape = F.plucked_shape(noise, f, sample_rate=RATE, brightness=bright, pick_position=pick)
    power = torch.fft.rfft(shape).abs().square()
    share = power[:, 25:].sum(-1) / power.sum(-1)
    assert share[1] < 0.1 * share[0]


def test_gradients():
    f, decay, damping = _double([441.3, 1000.7], [0.5, 2.0], [0.2, 0.9])
    noise = torch.randn(2, 120, dtype=torch.float64)

    def loop(f, decay, damping):
        return F.string_loop(f, sample_rate=RATE, decay_s=decay, damping=damping)[0]

    def pluck(bright, pick):
        return F.plucked_shape(noise, f, sample_rate=RATE, brightness=bright, pick_position=pick)

    values = [v.requires_grad_() for v in (f, decay, damping)]
    assert torch.autograd.gradcheck(loop, values, eps=1e-7, atol=1e-6)
    bright, pick = (v.requires_grad_() for v in _double([0.5, 0.9], [0.2, 0.41]))
    assert torch.autograd.gradcheck(pluck, (bright, pick))


def test_refuses():
    x = torch.ones(1, 5)
    with pytest.raises(ShapeError, match=r"x, taps and delay have shapes \(5,\)"):
        F.delay_loop(x[0], torch.ones(1, 2), torch.tensor([3]))
    with pytest.raises(ParameterError, match="delay is 0"):
        F.delay_loop(x, torch.ones(1, 2), torch.tensor([0]))
    assert F.delay_loop(x[:, :0], torch.ones(1, 2), torch.tensor([3])).shape == (1, 0)
