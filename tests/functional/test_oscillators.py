import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100
AMPLITUDES = {
    "saw": lambda k: 2 / (np.pi * k),
    "square": lambda k: 4 / (np.pi * k) * (k % 2),
    "triangle": lambda k: 8 / (np.pi * k) ** 2 * (k % 2),
}


def _spectrum(y):
    """Amplitudes at whole Hz of one second, main lobes 12 Hz wide, side lobes below -160 dB."""
    window = np.kaiser(RATE, 22)
    return np.abs(np.fft.rfft(y * window)) * 2 / window.sum()


@pytest.mark.parametrize("shape", AMPLITUDES)
@pytest.mark.parametrize("frequency_hz", [109, 437, 1733, 3517, 6551])
def test_harmonics_are_exact_and_aliases_inaudible(shape, frequency_hz):
    frequency = torch.full((RATE,), float(frequency_hz), dtype=torch.float64)
    spectrum = _spectrum(F.oscillator(frequency, sample_rate=RATE, shape=shape).numpy())
    number = np.arange(1, int(RATE / 2 / frequency_hz) + 1)
    ideal = AMPLITUDES[shape](number)
    heard = number * frequency_hz < 0.34 * RATE
    np.testing.assert_allclose(
        spectrum[number * frequency_hz][heard], ideal[heard], rtol=1.2e-3, atol=1e-6
    )
    other = np.arange(len(spectrum)) < 0.44 * RATE
    for k in [0, *number]:
        other[max(0, k * frequency_hz - 15) : k * frequency_hz + 16] = False
    assert 20 * np.log10(spectrum[other].max() / ideal[0]) < -95


def test_sine_follows_its_frequency():
    frequency = torch.linspace(100, 5000, 20_000, dtype=torch.float64)
    expected = np.sin(2 * np.pi * (np.cumsum(frequency.numpy()) - frequency.numpy()) / RATE + 0.5)
    actual = F.oscillator(frequency, sample_rate=RATE, phase=0.5 / (2 * np.pi))
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_phase_does_not_drift_over_hours():
    """Three hours of 1000 Hz in single precision end where they should."""
    frequency = torch.full((1,), 1000.0).expand(8000 * 3600 * 3)
    turns = F.running_phase(frequency[: 8000 * 600], sample_rate=8000)
    assert turns.dtype == torch.float64
    wrapped = (turns[::8] + 0.5) % 1 - 0.5
    assert wrapped.abs().max() < 1e-6


@pytest.mark.parametrize("width", [0.2, 0.5, 0.75])
def test_pulse_has_no_mean_and_its_width(width):
    frequency = torch.full((RATE,), 100.0, dtype=torch.float64)
    y = F.oscillator(frequency, sample_rate=RATE, shape="square", pulse_width=width)
    assert abs(y.mean()) < 1e-7
    assert abs((y > 1 - 2 * width).double().mean() - width) < 0.01


@pytest.mark.parametrize("shape", ["sine", *AMPLITUDES])
def test_batch_dtype_and_phase(shape):
    frequency = torch.tensor([[110.0], [3000.0]]).expand(2, 500)
    phase = torch.tensor([0.25, 0.75])
    y = F.oscillator(frequency, sample_rate=RATE, shape=shape, phase=phase)
    assert y.dtype == torch.float32
    for row in range(2):
        alone = F.oscillator(frequency[row], sample_rate=RATE, shape=shape, phase=float(phase[row]))
        torch.testing.assert_close(y[row], alone)
    assert F.oscillator(frequency[:, :0], sample_rate=RATE, shape=shape).shape == (2, 0)


@pytest.mark.parametrize("shape", ["sine", *AMPLITUDES])
def test_gradients(shape):
    frequency = torch.full((12,), 2345.0, dtype=torch.float64, requires_grad=True)

    def run(frequency):
        return F.oscillator(frequency, sample_rate=RATE, shape=shape, phase=0.13)

    assert torch.autograd.gradcheck(run, frequency, eps=1e-4, atol=1e-5)


def test_refuses_unknown_shapes():
    with pytest.raises(ParameterError, match="shape is 'sawtooth'"):
        F.oscillator(torch.ones(4), sample_rate=RATE, shape="sawtooth")
    with pytest.raises(ParameterError, match="pulse_width is 1"):
        F.oscillator(torch.ones(4), sample_rate=RATE, shape="square", pulse_width=1)
    with pytest.raises(ShapeError, match="scalar"):
        F.oscillator(torch.tensor(1.0), sample_rate=RATE)
