"""Random changes of stems by effects, and of tempo and pitch."""

import numpy as np
import pytest

from sonograd.data.augment import (
    narrow_stems,
    random_gains,
    saturate_stems,
    swap_channels,
)
from sonograd.data.damage import (
    CODECS,
    _round_trip,
    add_noise,
    code_stems,
    compress_stems,
    invert_stems,
    reverberate_stems,
)
from sonograd.data.stretch import (
    align_onsets,
    change_tempo,
    estimate_tempo,
    fold_tempo,
    onset_envelope,
    warp_stems,
)

RATE = 16000
WITH_RATE = {"sample_rate": RATE}
CHANGES = {
    "invert": (invert_stems, {}),
    "compress": (compress_stems, WITH_RATE),
    "reverb": (reverberate_stems, WITH_RATE),
    "codec": (code_stems, WITH_RATE),
    "noise": (add_noise, {"level_db": 0.0}),
    "saturate": (saturate_stems, {}),
    "narrow": (narrow_stems, {}),
    "swap": (swap_channels, {}),
}


@pytest.fixture
def stems(rng):
    time = np.arange(RATE // 2) / RATE
    tones = [0.2 * np.sin(2 * np.pi * hz * time) * np.exp(-4 * time) for hz in (110, 440, 1200)]
    sounds = np.stack([np.stack((x, -0.5 * x)) for x in tones])
    return (sounds + 0.01 * rng.standard_normal(sounds.shape)).astype(np.float32)


@pytest.mark.parametrize("name", CHANGES)
def test_laws_of_every_change(stems, name):
    change, options = CHANGES[name]
    before = stems.copy()

    def run(seed, probability, x=stems):
        return change(x, np.random.default_rng(seed), probability=probability, **options)

    np.testing.assert_array_equal(run(1, 0.0), stems)
    once = run(1, 1.0)
    np.testing.assert_array_equal(once, run(1, 1.0))
    assert once.shape == stems.shape
    assert once.dtype == np.float32
    assert np.isfinite(once).all()
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(once, stems, strict=True))
    np.testing.assert_array_equal(stems, before)  # in place is nothing
    silent = run(2, 1.0, np.zeros_like(stems))
    assert not silent.any()
    some = [np.array_equal(a, b) for s in range(8) for a, b in zip(run(s, 0.5), stems, strict=True)]
    assert 4 <= sum(some) <= 20  # of 24


@pytest.mark.parametrize(
    "name", [name for name in CHANGES if name not in ("invert", "swap", "narrow")]
)
def test_seed_decides(stems, name):
    change, options = CHANGES[name]
    ours, theirs = (
        change(stems, np.random.default_rng(seed), probability=1.0, **options) for seed in (1, 2)
    )
    assert not np.array_equal(ours, theirs)


def test_mono_is_changed_too(stems):
    for name, (change, options) in CHANGES.items():
        if name not in ("swap", "narrow"):
            out = change(stems[:, :1], np.random.default_rng(0), probability=1.0, **options)
            assert np.abs(out - stems[:, :1]).max() > 1e-3, name


def test_compression_lowers_peaks_and_keeps_the_level(stems):
    out = compress_stems(stems, np.random.default_rng(0), probability=1.0, sample_rate=RATE)
    np.testing.assert_allclose(
        np.square(out).mean((1, 2)), np.square(stems).mean((1, 2)), rtol=1e-3
    )
    loud, quiet = (
        [np.square(x[..., part]).mean((1, 2)) for x in (out, stems)]
        for part in (slice(0, 2000), slice(6000, 8000))
    )
    assert (quiet[0] / loud[0] > 1.3 * quiet[1] / loud[1]).all()


def test_reverberation_lasts_and_comes_later(stems):
    click = np.zeros((1, 2, RATE), np.float32)
    click[..., 100] = 1
    out = reverberate_stems(click, np.random.default_rng(0), probability=1.0, sample_rate=RATE)
    assert np.abs(out[..., :100]).max() < 1e-6
    assert out[0, 0, 100] == pytest.approx(1, abs=1e-6)
    assert np.square(out[..., 400:]).sum() > 1e-4


@pytest.mark.parametrize("codec", [name for name, _ in CODECS])
@pytest.mark.parametrize("rate", [16000, 44100, 22050])
def test_codecs_lose_little_and_do_not_delay(codec, rate):
    time = np.arange(rate) / rate
    x = (0.4 * np.sin(2 * np.pi * 330 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2)[None]
    x = x.astype(np.float32).repeat(2, 0)
    out = _round_trip(x, codec, 128, rate)
    assert out.shape == x.shape
    error = np.square(out - x)[:, rate // 10 : -rate // 10].mean() / np.square(x).mean()
    assert 1e-9 < error < 1e-2


def test_noise_has_its_level():
    stems = np.ones((6, 2, 8000), np.float32)
    out = add_noise(stems, np.random.default_rng(0), probability=1.0, level_db=-20.0)
    levels = 10 * np.log10(np.square(out - stems).mean((1, 2)))
    assert ((levels > -50.1) & (levels < -19.9)).all()
    assert np.ptp(levels) > 3


def test_gains_of_zero_are_the_identity(stems):
    out = random_gains(stems, np.random.default_rng(0), gain_db=0.0, drop_p=0.0)
    np.testing.assert_array_equal(out, stems)


@pytest.mark.parametrize("pitch", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("tempo", [0.8, 1.0, 1.3])
def test_pitch_and_tempo_apart(pitch, tempo):
    time = np.arange(3 * RATE) / RATE
    beats = np.sin(2 * np.pi * 400 * time) * np.exp(-8 * (time % 0.25))
    x = np.stack([beats, 0.5 * beats])[None].astype(np.float32)
    out = warp_stems(x, RATE, pitch=pitch, tempo=tempo, sample_rate=RATE)
    assert out.shape == (1, 2, RATE)
    np.testing.assert_allclose(out[0, 1], 0.5 * out[0, 0], atol=1e-6)
    spectrum = np.abs(np.fft.rfft(out[0, 0] * np.hanning(RATE)))
    assert abs(np.argmax(spectrum) - 400 * pitch) <= 6
    envelope = onset_envelope(out[0], sample_rate=RATE)
    beat = 25 / tempo
    strength = [np.correlate(envelope[round(lag) :], envelope[: -round(lag)])[0]
                for lag in (beat, 0.6 * beat)]  # fmt: skip
    assert strength[0] > 3 * strength[1]


def test_same_speed_and_tempo_change_nothing(stems):
    np.testing.assert_array_equal(change_tempo(stems, 99, 1.0, sample_rate=RATE), stems[..., :99])
    out = warp_stems(stems, 99, pitch=1.0, tempo=1.0, sample_rate=RATE)
    np.testing.assert_array_equal(out, stems[..., :99])


def test_short_signals_can_be_stretched():
    for count in (1, 10, 700):
        x = np.ones((1, 1, count), np.float32)
        out = change_tempo(x, 500, 0.7, sample_rate=RATE)
        assert out.shape == (1, 1, 500)
        assert np.isfinite(out).all()


@pytest.mark.parametrize("tempo", [80.0, 100.0, 120.0, 140.0])
def test_tempo_is_found(rng, tempo):
    time = np.arange(12 * RATE) / RATE
    beats = np.exp(-30 * (time % (60 / tempo))) * rng.standard_normal(time.size)
    bars = np.sin(2 * np.pi * 100 * time) * np.exp(-10 * (time % (240 / tempo)))
    x = np.stack([beats + bars, beats]).astype(np.float32)
    found = estimate_tempo(onset_envelope(x, sample_rate=RATE))
    assert fold_tempo(found / tempo) == pytest.approx(1, abs=0.02)


def test_silence_has_no_tempo():
    assert estimate_tempo(onset_envelope(np.zeros((1, RATE * 5)), sample_rate=RATE)) is None
    assert estimate_tempo(onset_envelope(np.zeros((1, 0)), sample_rate=RATE)) is None


def test_onsets_are_aligned(rng):
    envelope = rng.standard_normal(400).astype(np.float32)
    for lag in (0, 13, 59):
        assert align_onsets(envelope[59 : 59 + 300], envelope[59 - lag :], 60) == lag
    assert align_onsets(envelope[:5], envelope[:3], 60) == 0
