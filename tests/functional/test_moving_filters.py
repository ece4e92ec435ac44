import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _kernels

RATE = 44_100
DESIGNS = {
    "low_pass": lambda f, q, _: F.low_pass_biquad(f, q, sample_rate=RATE),
    "high_pass": lambda f, q, _: F.high_pass_biquad(f, q, sample_rate=RATE),
    "band_pass": lambda f, q, _: F.band_pass_biquad(f, q, sample_rate=RATE),
    "notch": lambda f, q, _: F.notch_biquad(f, q, sample_rate=RATE),
    "all_pass": lambda f, q, _: F.all_pass_biquad(f, q, sample_rate=RATE),
    "peak": lambda f, q, g: F.peak_biquad(f, g, q, sample_rate=RATE),
    "low_shelf": lambda f, q, g: F.low_shelf_biquad(f, g, q, sample_rate=RATE),
    "high_shelf": lambda f, q, g: F.high_shelf_biquad(f, g, q, sample_rate=RATE),
}


def _values(*numbers):
    return [torch.tensor([v], dtype=torch.float64) for v in numbers]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("kind", DESIGNS)
def test_standing_and_moving_filters_are_the_section(kind, fast, monkeypatch):
    """A stream that goes from standing to moving values and back is the filter throughout."""
    if not fast:
        monkeypatch.setattr(_kernels, "has_fast_kernels", lambda: False)
    x = torch.randn(2, 900, dtype=torch.float64)
    frequency, q, gain = _values(300.0, 2.0, 7.0)
    expected = F.sosfilt(x, DESIGNS[kind](frequency[0], q[0], gain[0])[None])
    state, parts = None, []
    for begin, end, moves in ((0, 300, False), (300, 500, True), (500, 900, False)):
        now = frequency.expand(end - begin) if moves else frequency
        part, state = F.biquad_stream(
            x[:, begin:end], kind, now, q, state, sample_rate=RATE, gain_db=gain
        )
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, -1), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["low_pass", "high_pass"])
def test_first_order_stands_and_moves(kind):
    x = torch.randn(2, 500, dtype=torch.float64)
    (cutoff,) = _values(300.0)
    expected = F.sosfilt(x, F.first_order(cutoff[0], sample_rate=RATE, kind=kind)[None])
    state, parts = None, []
    for begin, end, moves in ((0, 100, True), (100, 300, False), (300, 500, True)):
        now = cutoff.expand(end - begin) if moves else cutoff
        part, state = F.first_order_stream(x[:, begin:end], kind, now, state, sample_rate=RATE)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, -1), expected, rtol=0, atol=1e-12)


def test_gradients_of_moving_filters():
    x = torch.randn(1, 30, dtype=torch.float64)
    frequency = torch.linspace(500, 3000, 30, dtype=torch.float64).requires_grad_(True)
    q, gain = (v.requires_grad_(True) for v in _values(1.5, 4.0))

    def run(frequency, q, gain):
        return F.biquad_stream(x, "peak", frequency, q, None, sample_rate=RATE, gain_db=gain)

    assert torch.autograd.gradcheck(run, (frequency, q, gain), fast_mode=True)


def test_refuses():
    x = torch.zeros(1, 4)
    frequency, q = _values(100.0, 1.0)
    with pytest.raises(ParameterError, match="needs gain_db"):
        F.biquad_stream(x, "peak", frequency, q, None, sample_rate=RATE)
    with pytest.raises(ParameterError, match="kind is 'bell'"):
        F.biquad_stream(x, "bell", frequency, q, None, sample_rate=RATE, gain_db=q)
    with pytest.raises(ShapeError, match=r"state has shape \(3,\)"):
        F.biquad_stream(x, "notch", frequency, q, torch.zeros(3), sample_rate=RATE)
    with pytest.raises(ParameterError, match="kind is 'notch'"):
        F.first_order_stream(x, "notch", frequency, None, sample_rate=RATE)


def test_sliding_windows():
    x = torch.randn(3, 60, dtype=torch.float64)
    for length in range(1, 61):
        windows = x.unfold(-1, length, 1)
        torch.testing.assert_close(F.sliding_maximum(x, length), windows.amax(-1))
        torch.testing.assert_close(F.sliding_sum(x, length), windows.sum(-1))
    with pytest.raises(ParameterError, match="length is 0"):
        F.sliding_sum(x, 0)


def test_loud_sounds_leave_nothing_in_a_sliding_sum():
    x = torch.tensor([1e8, 1.0, 1.0, 1.0])
    assert F.sliding_sum(x, 2).tolist()[1:] == [2.0, 2.0]
    assert np.isfinite(F.sliding_sum(x, 4).item())
