"""Loudness against the synthesizable cases of EBU Tech 3341 and 3342, and pyloudnorm."""

import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import AudioError, ParameterError, ShapeError

RATE = 8000  # tones of 1 kHz need no more; one test covers 48 kHz
SILENCE = None


def tone(*parts, channels=(0, 0), rate=RATE, frequency=1000.0):
    """Sine of parts (level in dBFS, seconds), in phase, on channels with gains in dB."""
    levels = [
        np.full(round(s * rate), 0.0 if level is SILENCE else 10 ** (level / 20))
        for level, s in parts
    ]
    envelope = np.concatenate(levels)
    wave = envelope * np.sin(2 * np.pi * frequency * np.arange(len(envelope)) / rate)
    gains = [0.0 if gain is None else 10 ** (gain / 20) for gain in channels]
    return torch.from_numpy(np.stack([gain * wave for gain in gains]))


INTEGRATED = [
    (tone((-23, 20)), -23),
    (tone((-33, 20)), -33),
    (tone((-36, 10), (-23, 60), (-36, 10)), -23),
    (tone((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)), -23),
    (tone((-26, 20), (-20, 20.1), (-26, 20)), -23),
    (tone((0, 20), channels=(-28, -28, -24, -30, -30)), -23),
    (tone((0, 20), channels=(-28, -28, -24, 0, -30, -30)), -23),
]


@pytest.mark.parametrize("case", range(len(INTEGRATED)))
def test_integrated_loudness_of_tech_3341(case):
    sound, expected = INTEGRATED[case]
    assert abs(F.loudness_lufs(sound, sample_rate=RATE) - expected) <= 0.1


def test_48_khz_and_rates_that_do_not_divide():
    for rate in (48_000, 44_100, 11_025, 8001):
        sound = tone((-23, 3), rate=rate)
        assert abs(F.loudness_lufs(sound, sample_rate=rate) + 23) <= 0.1


def test_momentary_and_short_term_loudness_of_tech_3341():
    sound = tone((-23, 5))
    for function in (F.momentary_loudness_lufs, F.short_term_loudness_lufs):
        assert (function(sound, sample_rate=RATE) + 23).abs().max() <= 0.1
    short = tone(*[(-20, 1.34), (-30, 1.66)] * 5)
    assert (F.short_term_loudness_lufs(short, sample_rate=RATE) + 23).abs().max() <= 0.1
    momentary = tone(*[(-20, 0.18), (-30, 0.22)] * 25)
    levels = F.momentary_loudness_lufs(momentary, sample_rate=RATE)
    assert (levels[6:] + 23).abs().max() <= 0.1
    for index in (0, 1, 7, 19):
        late = tone((SILENCE, 0.15 * index), (-23, 3), (SILENCE, 1))
        levels = F.short_term_loudness_lufs(late, sample_rate=RATE)
        assert abs(levels.max() + 23) <= 0.25


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_of_tech_3342(levels, expected):
    sound = tone(*[(level, 20) for level in levels])
    assert abs(F.loudness_range_lu(sound, sample_rate=RATE) - expected) <= 1


def test_filter_is_that_of_the_recommendation():
    sos = F.k_weighting_sos(sample_rate=48_000)
    expected = [
        [
            1.53512485958697,
            -2.69169618940638,
            1.19839281085285,
            1,
            -1.69065929318241,
            0.73248077421585,
        ],
        [1, -2, 1, 1, -1.99004745483398, 0.99007225036621],
    ]
    np.testing.assert_allclose(sos, expected, rtol=0, atol=1e-8)
    # At another rate it weights the same frequencies equally.
    frequency = torch.tensor([30.0, 100.0, 1000.0, 4000.0]).double()
    response = F.frequency_response(
        F.k_weighting_sos(sample_rate=44_100), frequency, sample_rate=44_100
    )
    levels = 20 * torch.log10(response.abs() / F.k_weighting_gain(frequency))
    assert levels.abs().max() < 0.15


def test_pyloudnorm():
    pyloudnorm = pytest.importorskip("pyloudnorm")
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((2, 48_000 * 3)) * np.linspace(0.01, 0.3, 48_000 * 3)
    meter = pyloudnorm.Meter(48_000, filter_class="DeMan")
    expected = meter.integrated_loudness(sound.T)
    actual = F.loudness_lufs(torch.from_numpy(sound), sample_rate=48_000)
    assert abs(actual - expected) < 0.02


def test_laws():
    sound = torch.randn(3, 2, RATE) * torch.tensor([0.5, 0.05, 1e-6])[:, None, None]
    value = F.loudness_lufs(sound, sample_rate=RATE)
    assert value.dtype == torch.float32
    assert value[2] == -torch.inf
    each = torch.stack([F.loudness_lufs(x, sample_rate=RATE) for x in sound])
    assert torch.equal(value, each)
    louder = F.loudness_lufs(2 * sound[:1], sample_rate=RATE) - value[:1]
    torch.testing.assert_close(louder, torch.tensor([6.0206]), rtol=0, atol=1e-4)
    assert F.loudness_lufs(0 * sound[0], sample_rate=RATE) == -torch.inf
    padded = sound.clone()
    padded[1, :, 5000:] = torch.nan
    cut = F.loudness_lufs(padded, sample_rate=RATE, lengths=[RATE, 5000, RATE])
    assert cut[1] == F.loudness_lufs(sound[1, :, :5000], sample_rate=RATE)
    blocks = F.loudness_lufs_blocks(iter(sound[0].double().split(999, -1)), sample_rate=RATE)
    torch.testing.assert_close(blocks.float(), value[0])
    many = F.loudness_lufs_blocks(sound[:, None].double().split(777, -1), sample_rate=RATE)
    torch.testing.assert_close(many.float(), value[:, None])
    weighted = F.loudness_lufs(sound[0], sample_rate=RATE, channel_weights=[1, 0])
    torch.testing.assert_close(weighted, F.loudness_lufs(sound[0, :1], sample_rate=RATE))


def test_errors():
    sound = torch.randn(2, 3199)
    with pytest.raises(AudioError, match=r"expected at least 0\.4 s"):
        F.loudness_lufs(sound, sample_rate=RATE)
    with pytest.raises(AudioError, match="at least 3 s"):
        F.loudness_range_lu(sound, sample_rate=RATE)
    with pytest.raises(AudioError, match="NaN"):
        F.loudness_lufs(sound / 0, sample_rate=RATE)
    with pytest.raises(ShapeError, match="channels, samples"):
        F.loudness_lufs(sound[0], sample_rate=RATE)
    with pytest.raises(ShapeError, match="7 channels, but there are no weights"):
        F.loudness_lufs(torch.randn(7, 9000), sample_rate=RATE)
    with pytest.raises(ShapeError, match="3 weights"):
        F.loudness_lufs(torch.randn(2, 9000), sample_rate=RATE, channel_weights=[1, 1, 1])
    with pytest.raises(ParameterError, match="sample_rate is 0"):
        F.loudness_lufs(sound, sample_rate=0)
