"""Random changes of stems."""

import numpy as np
import pytest

from sonograd.data.augment import (
    change_speed,
    equalizer_curves,
    level_stems,
    narrow_stems,
    random_gains,
    random_speed,
    saturate_stems,
    swap_channels,
)


def _stems(rng):
    return rng.normal(size=(4, 2, 50)).astype(np.float32)


def test_gains_scale_whole_stems(rng):
    stems = _stems(rng)
    out = random_gains(stems, np.random.default_rng(3), gain_db=6.0, drop_p=0.0)
    ratio = out / stems
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1], ratio.shape), rtol=1e-5)
    assert np.ptp(ratio[:, 0, 0]) > 0.1


def test_gain_in_db_has_the_deviation_that_was_asked_for():
    ones = np.ones((4000, 1, 1), np.float32)
    out = random_gains(ones, np.random.default_rng(0), gain_db=4.0, drop_p=0.0)
    assert np.std(20 * np.log10(out)) == pytest.approx(4, rel=0.1)


def test_one_stem_always_sounds(rng):
    for seed in range(20):
        out = random_gains(_stems(rng), np.random.default_rng(seed), gain_db=1.0, drop_p=1.0)
        assert np.count_nonzero(out.any(axis=(1, 2))) == 1


def test_levels_count_only_where_a_stem_sounds(rng):
    stems = (0.02 * rng.normal(size=(3, 2, 4000))).astype(np.float32)
    stems[1, :, :2000] = 0
    stems[2] = 0
    out = level_stems(stems, -20.0, sample_rate=1000)
    assert np.square(out[0]).mean() == pytest.approx(0.01, rel=1e-3)
    assert np.square(out[1, :, 2000:]).mean() == pytest.approx(0.01, rel=1e-3)
    assert not out[2].any()


def test_levels_of_what_is_shorter_than_a_block_stay(rng):
    stems = _stems(rng)
    np.testing.assert_array_equal(level_stems(stems, -20.0, sample_rate=44100), stems)


def test_narrowing_keeps_the_mid_and_shrinks_the_side(rng):
    stems = _stems(rng)
    out = narrow_stems(stems, np.random.default_rng(1), probability=1.0)
    np.testing.assert_allclose(out.sum(axis=1), stems.sum(axis=1), atol=1e-6)
    side, before = np.ptp(out, axis=1), np.ptp(stems, axis=1)
    assert (side < before).all()
    np.testing.assert_array_equal(
        narrow_stems(stems, np.random.default_rng(1), probability=0.0), stems
    )
    mono = stems[:, :1]
    assert narrow_stems(mono, np.random.default_rng(1), probability=1.0) is mono


def test_saturation_lowers_the_crest_and_keeps_the_level(rng):
    stems = rng.normal(size=(4, 2, 5000)).astype(np.float32)
    stems[3] = 0
    out = saturate_stems(stems, np.random.default_rng(1), probability=1.0)
    np.testing.assert_allclose(
        np.square(out).mean((1, 2)), np.square(stems).mean((1, 2)), rtol=1e-3
    )
    assert (np.abs(out[:3]).max((1, 2)) < np.abs(stems[:3]).max((1, 2))).all()
    same = saturate_stems(stems, np.random.default_rng(1), probability=0.0)
    np.testing.assert_array_equal(same, stems)


def test_swap(rng):
    stems = _stems(rng)
    swapped = swap_channels(stems, np.random.default_rng(0), probability=1.0)
    np.testing.assert_array_equal(swapped, stems[:, ::-1])
    same = swap_channels(stems, np.random.default_rng(0), probability=0.0)
    np.testing.assert_array_equal(same, stems)


def test_speed_moves_a_ramp_and_a_tone():
    ramp = np.arange(100, dtype=np.float32)
    np.testing.assert_allclose(change_speed(ramp, 1.5, 60), np.arange(60) * 1.5, rtol=1e-6)
    np.testing.assert_array_equal(change_speed(ramp, 1.0, 60), ramp[:60])


def test_random_speed_stays_in_range():
    generator = np.random.default_rng(0)
    speeds = np.array([random_speed(0.5, 0.5, generator) for _ in range(2000)])
    assert 0.45 < np.mean(speeds == 1.0) < 0.55
    assert np.abs(np.log2(speeds)).max() <= 0.5
    assert np.abs(np.log2(speeds)).max() > 0.45


def test_equalizer_without_deviation_is_flat():
    curves = equalizer_curves(
        ["drums", "bass"], 129, np.random.default_rng(0),
        sample_rate=8000, equalizer_db=0.0, low_pass_p=0.0,
    )  # fmt: skip
    np.testing.assert_array_equal(curves, np.ones((2, 129), np.float32))


def test_low_pass_is_for_the_bass_alone():
    for seed in range(10):
        drums, bass = equalizer_curves(
            ["drums", "bass"], 129, np.random.default_rng(seed),
            sample_rate=44100, equalizer_db=0.0, low_pass_p=1.0,
        )  # fmt: skip
        assert (drums == 1).all()
        assert (np.diff(bass) < 0).all()
        assert 1 <= bass[0] <= 2  # up to 6 dB of makeup
        octave_db = 20 * np.log10(bass[64] / bass[128])
        assert octave_db == pytest.approx(6, abs=0.2) or octave_db == pytest.approx(12, abs=0.4)
