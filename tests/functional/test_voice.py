import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.functional import formant_response, pulse_train


def test_pulse_train_equals_the_sum_of_its_harmonics():
    rate, f = 8000.0, 441.7
    hz = torch.full((400,), f, dtype=torch.float64)
    time = torch.arange(400, dtype=torch.float64) / rate
    count = int(0.45 * rate / f)
    expected = sum(torch.cos(2 * torch.pi * k * f * time) for k in range(1, count + 1))
    expected = expected * (2 * f / rate) ** 0.5
    y = pulse_train(hz, sample_rate=rate)
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=0)


def test_formants_peak_where_they_should():
    f = torch.linspace(0, 8000, 1601)
    centers, widths = torch.tensor([[500.0, 3000.0]]), torch.tensor([[50.0, 100.0]])
    response = formant_response(f, centers, widths, torch.tensor([[1.0, 0.5]])).abs()[0]
    assert response[100] == pytest.approx(1.0, abs=0.02)
    assert response[600] == pytest.approx(0.5, abs=0.02)
    assert response[300] < 0.1


def test_formants_of_different_shapes_are_refused():
    with pytest.raises(ShapeError, match="must be equal"):
        formant_response(torch.ones(3), torch.ones(2), torch.ones(2), torch.ones(3))
