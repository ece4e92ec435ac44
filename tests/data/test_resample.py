"""Resampling: length, purity, and that blocks equal the whole."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd.data import StreamResampler, resample_audio, resampled_length
from sonograd.errors import ParameterError, ShapeError

RATES = [(44_100, 48_000), (48_000, 44_100), (44_100, 16_000), (8_000, 44_100), (44_100, 22_050)]


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, (16_000, 16_000), (192_000, 8000)])
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 1001, 20_003])
def test_the_length_is_exact(from_rate, to_rate, samples):
    got = resample_audio(torch.zeros(2, samples), from_rate, to_rate)
    assert got.shape == (2, round(samples * to_rate / from_rate))
    assert got.shape[-1] == resampled_length(samples, from_rate, to_rate)


@given(
    st.sampled_from([*RATES, (16_000, 16_000)]),
    st.lists(st.integers(0, 3000), max_size=12),
    st.integers(1, 3),
)
def test_blocks_equal_the_whole(rates, sizes, channels):
    whole = torch.randn(channels, sum(sizes), generator=torch.Generator().manual_seed(1))
    stream = StreamResampler(*rates, channels)
    got = [stream.push(block) for block in whole.split(sizes, dim=-1)]
    got.append(stream.finish())
    assert torch.equal(torch.cat(got, dim=-1), resample_audio(whole, *rates))


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_a_tone_stays_where_it_is(from_rate, to_rate):
    def tone(rate):
        t = torch.arange(rate, dtype=torch.float64) / rate
        return torch.sin(2 * math.pi * 1000.0 * t)[None]

    got = resample_audio(tone(from_rate), from_rate, to_rate).double()
    inside = slice(to_rate // 4, 3 * to_rate // 4)
    residual = (got - tone(to_rate))[:, inside].square().mean()
    assert 10 * math.log10(residual / 0.5) < -130.0


def test_what_does_not_fit_is_removed():
    t = torch.arange(44_100, dtype=torch.float64) / 44_100
    got = resample_audio(torch.sin(2 * math.pi * 9000.0 * t)[None], 44_100, 16_000)
    assert got[:, 4000:12_000].abs().max() < 1e-6


def test_channels_do_not_touch():
    x = torch.zeros(3, 5000)
    x[1] = torch.randn(5000)
    got = resample_audio(x, 44_100, 48_000)
    assert not got[[0, 2]].any()
    assert torch.equal(got[1:2], resample_audio(x[1:2], 44_100, 48_000))


def test_same_rate_is_a_copy():
    x = torch.randn(2, 100)
    got = resample_audio(x, 8000, 8000)
    assert torch.equal(got, x)
    got.zero_()
    assert x.any()


def test_errors():
    with pytest.raises(ParameterError, match="to_rate is 0; expected at least 1"):
        StreamResampler(44_100, 0, 2)
    with pytest.raises(ParameterError, match="expected 'HQ' or 'VHQ'"):
        StreamResampler(44_100, 48_000, 2, quality="best")
    stream = StreamResampler(44_100, 48_000, 2)
    with pytest.raises(ShapeError, match=r"expected \(2, samples\)"):
        stream.push(torch.zeros(3, 5))
    stream.finish()
    with pytest.raises(ParameterError, match="push was called after finish"):
        stream.push(torch.zeros(2, 5))
    with pytest.raises(ParameterError, match="finish was called twice"):
        stream.finish()
    with pytest.raises(ShapeError, match="channels"):
        resample_audio(torch.zeros(5), 1, 2)
