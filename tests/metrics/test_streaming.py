"""Accumulators that read a track in blocks find what they find in the whole of it."""

import math
import weakref

import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.metrics import ACCUMULATORS, SNR, ThresholdedSNR, TruePeak

RATE = 8000
STREAMING = [cls for cls in ACCUMULATORS if cls.streams and "bss" not in cls.name]
RATIOS = [cls for cls in STREAMING if cls.unit == "dB" and cls.name != "csdr"]
CUTS = {"even": [1000] * 8, "ragged": [1, 0, 4999, 62, 63, 2, 2873], "whole": [8000]}


def opener(estimate, reference, sizes):
    def blocks():
        return zip(estimate.split(sizes, -1), reference.split(sizes, -1), strict=True)

    return blocks


def song(noise_db=10.0, offset=0.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(5)
    reference = 0.1 * torch.randn(2, 2, RATE, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(2, 2, RATE, generator=generator, dtype=torch.float64)
    estimate = 0.8 * reference + 10 ** (-noise_db / 20) * noise
    return (estimate + offset).to(dtype), (reference - offset).to(dtype)


def both(cls, estimate, reference, sizes):
    streamed = cls(sample_rate=RATE).update_blocks(opener(estimate, reference, sizes))
    whole = cls(sample_rate=RATE).update(estimate, reference)
    assert [s.target for s in streamed] == [s.target for s in whole]
    for ours, theirs in zip(streamed, whole, strict=True):
        for name, value in theirs.values.items():
            assert ours.values[name] == pytest.approx(value, rel=0, abs=1e-9, nan_ok=True)
        assert ours.reason == theirs.reason
    return streamed


def test_what_streams():
    assert {cls.name for cls in STREAMING} == {
        *("usdr", "msst_sdr", "snr", "si_sdr", "si_snr", "sd_sdr", "sa_sdr", "thresholded_snr"),
        *("csdr", "loudness_difference", "true_peak"),
    }


@pytest.mark.parametrize("sizes", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("cls", STREAMING, ids=lambda cls: cls.name)
def test_any_blocks_give_the_value_of_the_whole(cls, sizes):
    sizes = [size for size in sizes if size] if cls.name == "csdr" else sizes
    both(cls, *song(), sizes)
    if cls in RATIOS:
        both(cls, *song(offset=0.3, dtype=torch.float64), sizes)


@pytest.mark.parametrize("cls", RATIOS, ids=lambda cls: cls.name)
def test_high_ratios_are_as_exact(cls):
    estimate, reference = song(110.0, offset=0.01, dtype=torch.float64)
    score = both(cls, estimate, reference, CUTS["ragged"])[0]
    if cls.name == "si_snr":
        assert score.values["si_snr"] == pytest.approx(108.0, abs=0.5)


@pytest.mark.parametrize("cls", RATIOS, ids=lambda cls: cls.name)
def test_perfect_estimates_and_silence(cls):
    reference = song()[1]
    perfect = both(cls, reference, reference, CUTS["ragged"])[0].values[cls.name]
    assert perfect == math.inf or cls.name in {"usdr", "msst_sdr", "thresholded_snr"}
    silence = torch.zeros_like(reference)
    both(cls, silence, silence, CUTS["even"])
    both(cls, reference, silence, CUTS["even"])
    both(cls, silence, reference, CUTS["even"])
    mute = reference.clone()
    mute[0] = 0
    both(cls, reference, mute, CUTS["even"])


@pytest.mark.parametrize("cls", STREAMING, ids=lambda cls: cls.name)
def test_bad_samples_lose_their_target_alone(cls):
    estimate, reference = song()
    estimate[0, 1, 5003] = math.nan
    score = cls(sample_rate=RATE).update_blocks(opener(estimate, reference, CUTS["even"]))
    whole = cls(sample_rate=RATE).update(estimate, reference)
    assert math.isnan(score[0].values[cls.value_names[0]])
    assert "estimate holds samples that are NaN or infinite" in score[0].reason
    assert "sample 5003 of channel 1" in score[0].reason
    value = whole[1].values[cls.value_names[0]]
    assert math.isnan(value) == cls.joint
    assert score[1].values[cls.value_names[0]] == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_the_true_peak_ignores_the_reference():
    estimate, reference = song()
    reference[:] = math.nan
    score = TruePeak(sample_rate=RATE).update_blocks(opener(estimate, reference, CUTS["even"]))[0]
    assert math.isfinite(score.values["true_peak_dbtp"])


@pytest.mark.parametrize(
    "cls", [cls for cls in STREAMING if cls.name != "csdr"], ids=lambda cls: cls.name
)
def test_blocks_are_let_go(cls):
    alive = most = 0

    def gone():
        nonlocal alive
        alive -= 1

    def blocks():
        nonlocal alive, most
        for _ in range(40):
            pair = torch.randn(2, 2, 1, 200)
            alive += 1
            most = max(most, alive)
            weakref.finalize(pair, gone)
            yield pair[0], pair[1]

    score = cls(sample_rate=RATE).update_blocks(blocks)[0]
    assert not math.isnan(score.values[cls.value_names[0]])
    assert most <= 4


def test_blocks_without_samples_or_with_another_layout():
    with pytest.raises(ShapeError, match="the track has no samples"):
        SNR(sample_rate=RATE).update_blocks(lambda: [(torch.zeros(1, 1, 0),) * 2])
    pairs = [(torch.ones(1, 1, 9),) * 2, (torch.ones(2, 1, 9),) * 2]
    with pytest.raises(ShapeError, match="the same targets and channels"):
        SNR(sample_rate=RATE).update_blocks(lambda: pairs)


def test_leakage_into_silence_without_a_mix_is_no_value():
    sound, silence = torch.ones(1, 1, 100), torch.zeros(1, 1, 100)
    for score in both(ThresholdedSNR, sound, silence, [50, 50]):
        assert math.isnan(score.values["thresholded_snr"])
        assert "no mix: all targets of the track are needed" in score.reason
    assert both(ThresholdedSNR, sound, sound, [50, 50])[0].values["thresholded_snr"] == 30
