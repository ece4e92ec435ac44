"""Laws of every accumulator; a new subclass is found by itself."""

import json
import math

import numpy as np
import pytest
import torch

from sonograd import metrics
from sonograd.errors import ParameterError, ShapeError
from sonograd.metrics import ACCUMULATORS, Accumulator, accumulator_classes, make_accumulators

RATE = 8000
OPTIONS = {
    "pesq": {"band": "narrow"},
    "bss_v4": {"filter_length": 16},
    "bss_v3": {"filter_length": 16},
}
SPEECH = {"pesq": "pesq", "stoi": "pystoi"}


def leaves(cls):
    for child in cls.__subclasses__():
        if not child.__abstractmethods__ and "name" in vars(child):
            yield child
        yield from leaves(child)


FOUND = sorted(set(leaves(Accumulator)), key=lambda cls: cls.__name__)


def make(cls):
    if cls.name in SPEECH:
        pytest.importorskip(SPEECH[cls.name])
    return cls(sample_rate=RATE, **OPTIONS.get(cls.name, {}))


@pytest.fixture(params=FOUND, ids=lambda cls: cls.__name__)
def metric(request):
    return make(request.param)


@pytest.fixture(scope="module")
def song():
    """Four tracks of two stereo targets: syllables of noise, and what leaks."""
    generator = torch.Generator().manual_seed(3)
    time = torch.arange(2 * RATE) / RATE
    noise = torch.randn(4, 2, 2, 2 * RATE, generator=generator)
    rate = torch.tensor([3.0, 2.0])[:, None, None]
    reference = 0.1 * noise * (torch.sin(2 * math.pi * rate * time) > -0.3)
    reference[..., : RATE // 10] *= 0.1
    leak = torch.tensor([0.3, 0.2, 0.1, 0.5])[:, None, None, None] * reference.roll(1, 1)
    estimate = 0.9 * reference + leak + 0.01 * torch.randn(noise.shape, generator=generator)
    return estimate, reference


def values(scores):
    return torch.tensor([list(score.values.values()) for score in scores], dtype=torch.float64)


def test_the_catalog_is_complete():
    assert set(FOUND) == set(ACCUMULATORS)
    assert {cls.__name__ for cls in FOUND} <= set(metrics.__all__)
    names = [name for cls in ACCUMULATORS for name in cls.value_names]
    assert len(names) == len(set(names))
    assert "sdr" not in names
    for cls in ACCUMULATORS:
        assert all((cls.name, cls.version, cls.unit, cls.__doc__))


def test_choosing_by_name():
    made = make_accumulators(["csdr", "bss_v4_sir", "bss-v4-sar"], sample_rate=RATE)
    assert [metric.name for metric in made] == ["csdr", "bss_v4"]
    with pytest.raises(
        ParameterError, match=r"no metric 'usd'\. Did you mean 'usdr'\? Choose from usdr, "
    ):
        make_accumulators(["usd"], sample_rate=RATE)
    with pytest.raises(ParameterError, match=r"no metric 'zzz'\. Choose from usdr, "):
        accumulator_classes(["zzz"])
    assert accumulator_classes(["pesq", "estoi", "stoi"]) == [metrics.PESQ, metrics.STOI]


def test_every_value_has_a_direction_and_an_improvement(metric):
    for name in metric.value_names:
        direction = metric.direction(name)
        gain = metric.improvement(name, 3.0, 1.0)
        assert direction in {-1, 0, 1}
        assert math.isnan(gain) or gain == (2.0 * direction if direction else -2.0)
        assert math.isnan(metric.improvement(name, math.nan, 1.0))
    assert (metric.improvable or set()) <= set(metric.value_names)
    for method in (metric.direction, lambda name: metric.improvement(name, 1.0, 2.0)):
        with pytest.raises(ParameterError, match=f"{metric.name} has no value 'loud'"):
            method("loud")


def test_what_an_improvement_is():
    loudness = metrics.LoudnessDifference
    assert loudness.improvement("loudness_difference_lu", -1.0, 5.0) == 4.0
    assert metrics.RVM.improvement("rvm_1", -12.0, -5.0) == 7.0
    for cls, prefix in ((metrics.BSSEvalV4, "bss_v4"), (metrics.BSSEvalV3, "bss_v3")):
        gains = {name: cls.improvement(name, 3.0, 1.0) for name in cls.value_names}
        kept = {name for name, gain in gains.items() if not math.isnan(gain)}
        assert kept == {f"{prefix}_sdr", f"{prefix}_sir"}
        assert cls.direction(f"{prefix}_residual_dbfs") == -1
        assert cls.direction(f"{prefix}_silent_frames") == 0
    assert math.isnan(metrics.TruePeak.improvement("true_peak_dbtp", -1.0, -2.0))
    assert metrics.SIBSS.improvement("si_sir", 3.0, 1.0) == 2.0
    assert math.isnan(metrics.SIBSS.improvement("si_sar_target", 3.0, 200.0))


def test_a_score_has_every_value_and_says_whose_it_is(metric, song):
    scores = metric.update(song[0][0], song[1][0], track="a", targets=["vocals", "rest"])
    assert [(s.track, s.target) for s in scores] == [("a", "vocals"), ("a", "rest")]
    assert metric.targets == ("vocals", "rest")
    for score in scores:
        assert tuple(score.values) == metric.value_names
        assert score.reason == ""
        main = [v for name, v in score.values.items() if not name.endswith("residual_dbfs")]
        assert all(math.isfinite(value) for value in main)
    assert set(metric.compute()) == set(metric.value_names)


def test_a_batch_equals_its_items(metric, song):
    batch = metric.update(*song, track=list("abcd"))
    single = make(type(metric))
    for index, name in enumerate("abcd"):
        single.update(song[0][index], song[1][index], track=name)
    torch.testing.assert_close(
        values(batch), values(single.scores), rtol=0, atol=1e-9, equal_nan=True
    )


def test_padding_does_not_count(metric, song):
    length = int(1.4 * RATE)
    estimate, reference = (x[:1].clone() for x in song)
    estimate[..., length:] = math.nan
    reference[..., length:] = 7.0
    padded = metric.update(estimate, reference, lengths=[length])
    cut = metric.update(estimate[..., :length], reference[..., :length])
    torch.testing.assert_close(values(padded), values(cut), rtol=0, atol=1e-12, equal_nan=True)


def test_the_order_of_targets_and_tracks_does_not_matter(metric, song):
    forth = metric.update(*song, track=list("abcd"), targets=["x", "y"])
    back = make(type(metric))
    mirrored = back.update(*(x.flip(0, 1) for x in song), track=list("dcba"), targets=["y", "x"])
    torch.testing.assert_close(
        values(forth), values(mirrored[::-1]), rtol=0, atol=1e-9, equal_nan=True
    )
    for name, statistic in metric.compute().items():
        other = back.compute()[name]
        np.testing.assert_allclose(
            [other.mean, other.median, other.count],
            [statistic.mean, statistic.median, statistic.count],
        )


def test_blocks_equal_the_whole(metric, song):
    estimate, reference = song[0][0], song[1][0]

    def blocks():
        return zip(estimate.split(1777, -1), reference.split(1777, -1), strict=True)

    streamed = metric.update_blocks(blocks, track="a", targets=["x", "y"])
    whole = metric.update(estimate, reference, track="b", targets=["x", "y"])
    torch.testing.assert_close(values(streamed), values(whole), rtol=0, atol=1e-9, equal_nan=True)
    assert [s.target for s in streamed] == ["x", "y"]


def test_two_halves_merge_to_the_whole_through_json(metric, song):
    metric.update(*song, track=list("abcd"))
    halves = [make(type(metric)), make(type(metric))]
    halves[0].update(*(x[2:] for x in song), track=list("cd"))
    halves[1].update(*(x[:3] for x in song), track=list("abc"))
    restored = make(type(metric))
    restored.load_state_dict(json.loads(json.dumps(halves[1].state_dict())))
    halves[0].merge(restored)
    assert len(halves[0].scores) == len(metric.scores)
    for name, statistic in metric.compute().items():
        merged = halves[0].compute()[name]
        assert (merged.count, merged.missing) == (statistic.count, statistic.missing)
        np.testing.assert_allclose(
            [merged.mean, merged.median], [statistic.mean, statistic.median], rtol=1e-12
        )
    halves[0].reset()
    assert halves[0].scores == ()
    assert halves[0].compute()[metric.value_names[0]].count == 0


def test_one_bad_track_does_not_spoil_the_others(metric, song):
    estimate, reference = (x.clone() for x in song)
    estimate[1, :, 0, 55] = math.nan
    reference[2, :, 1, 55] = math.inf
    scores = metric.update(estimate, reference, track=list("abcd"))
    good = make(type(metric)).update(*song, track=list("abcd"))
    kept = [0, 1, 6, 7]
    torch.testing.assert_close(
        values(scores)[kept], values(good)[kept], rtol=0, atol=1e-12, equal_nan=True
    )
    for score in scores[2:6]:
        bad = metric.name != "true_peak" or score.track == "b"
        assert all(math.isnan(value) for value in score.values.values()) == bad
        assert ("NaN" in score.reason) == bad
    statistic = metric.compute()[metric.value_names[0]]
    assert statistic.missing == (2 if metric.name == "true_peak" else 4)


def test_silence_and_short_clips_are_values_or_reasons(metric, song):
    sound = song[1][0]
    silence = torch.zeros_like(sound)
    for pair in ((silence, sound), (sound, silence), (silence, silence), (sound[..., :3],) * 2):
        for score in metric.update(*pair):
            lost = [n for n, v in score.values.items() if math.isnan(v) and "residual" not in n]
            assert bool(score.reason) == bool(lost)


def test_wrong_shapes_raise(metric, song):
    estimate, reference = song[0][0], song[1][0]
    with pytest.raises(ShapeError, match="10 samples shorter"):
        metric.update(estimate[..., 10:], reference)
    with pytest.raises(ShapeError, match="nothing is broadcast"):
        metric.update(estimate[:1], reference)
    with pytest.raises(ShapeError, match="more channels than samples"):
        metric.update(estimate.mT, reference.mT)
    with pytest.raises(ShapeError, match="int16"):
        metric.update(estimate.to(torch.int16), reference.to(torch.int16))
    with pytest.raises(ShapeError, match="no samples"):
        metric.update(estimate[..., :0], reference[..., :0])
    with pytest.raises(ShapeError, match="expected"):
        metric.update(estimate[0, 0], reference[0, 0])
    with pytest.raises(ShapeError, match="names for"):
        metric.update(estimate, reference, targets=["one"])
    with pytest.raises(ParameterError, match="a name for each"):
        metric.update(*song, track="a")
    with pytest.raises(ShapeError, match="no blocks"):
        metric.update_blocks(list)
    assert metric.scores == ()


def test_only_scores_of_the_same_measure_merge(metric):
    class Other(type(metric)):
        version = "0"

    other = Other(sample_rate=RATE, **OPTIONS.get(metric.name, {}))
    with pytest.raises(ParameterError, match="cannot merge"):
        metric.merge(other)
    with pytest.raises(ParameterError, match="cannot load"):
        metric.load_state_dict(other.state_dict())
    with pytest.raises(ParameterError, match="sample_rate"):
        type(metric)(sample_rate=0)
