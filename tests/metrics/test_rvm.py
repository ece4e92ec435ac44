import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ShapeError
from sonograd.metrics import RelativeVolumeMel

GOLDEN = runpy.run_path(str(Path(__file__).with_name("golden.py")))
FOLDER, RVM, array, rvm_pair = (GOLDEN[name] for name in ("FOLDER", "RVM", "array", "rvm_pair"))


@pytest.fixture
def pair():
    reference = torch.randn(3, 2, 2000)
    reference *= torch.tensor([0.5, 0.05, 0.001])[:, None, None]
    return reference + 0.1 * reference.roll(1, -1), reference


def close(actual, expected, tolerance):
    assert list(actual) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(
            actual[key], torch.as_tensor(value).to(actual[key]), rtol=0, atol=tolerance
        )


@pytest.mark.filterwarnings("ignore:2 of 80 mel filters")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 2e-6)])
@pytest.mark.parametrize("case", RVM)
def test_published_values(case, dtype, tolerance):
    expected = RVM[case][str(dtype).removeprefix("torch.")]
    metric = RelativeVolumeMel(**RVM[case]["kwargs"]).to(dtype)
    actual = metric(*rvm_pair(case, dtype))
    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert actual[key].shape == ()
        saturated = value in (-25.0, 25.0)
        np.testing.assert_allclose(
            actual[key], array(value), rtol=0, atol=0 if saturated else tolerance
        )


@pytest.mark.parametrize("sample_rate", [24_000, 22_051])
def test_filters_and_mel_spectrogram_are_those_of_torchaudio(sample_rate):
    stored = np.load(FOLDER / "melspec.npz")
    name = f"sr{sample_rate}_nfft512_hop128_nm80"
    filters = F.volume_mel_filters(sample_rate=sample_rate)
    np.testing.assert_array_equal(filters, stored[f"{name}/fb"])
    mel = F.volume_mel(torch.from_numpy(stored["input"]), filters=filters).square()
    np.testing.assert_allclose(mel, stored[f"{name}/mel"], rtol=1e-5, atol=1e-6 * float(mel.max()))


def test_groups_of_bands_follow_chunk():
    x = torch.randn(1000)
    for n_mels, groups, keys in ((10, 4, 5), (9, 4, 4), (5, 4, 4), (3, 4, 4), (80, 3, 4)):
        metric = RelativeVolumeMel(n_mels=n_mels, num_aggregated_bands=groups)
        assert len(metric(x, x)) == keys


def test_one_level_serves_the_batch_unless_per_item(pair):
    whole = RelativeVolumeMel()(*pair)
    each = RelativeVolumeMel(per_item=True)(*pair)
    single = [RelativeVolumeMel()(*(x[index] for x in pair)) for index in range(3)]
    assert abs(whole["rvm"] - each["rvm"].mean()) > 0.1
    close(each, {key: torch.stack([s[key] for s in single]) for key in whole}, 1e-5)
    nested = RelativeVolumeMel(per_item=True)(*(x.reshape(3, 1, 2, -1) for x in pair))
    assert nested["rvm"].shape == (3, 1)
    assert RelativeVolumeMel(per_item=True)(pair[0][0, 0], pair[1][0, 0])["rvm"].shape == ()


@pytest.mark.parametrize("per_item", [False, True])
def test_padding_does_not_count(pair, per_item):
    metric = RelativeVolumeMel(per_item=per_item).double()
    estimate, reference = (x.double() for x in pair)
    lengths = [1300, 2000, 700]
    padded = [x.clone() for x in (estimate, reference)]
    for x in padded:
        for index, length in enumerate(lengths):
            x[index, :, length:] = torch.nan
    actual = metric(*padded, lengths=lengths)
    if per_item:
        single = [
            RelativeVolumeMel().double()(estimate[i, :, :n], reference[i, :, :n])
            for i, n in enumerate(lengths)
        ]
        close(actual, {key: torch.stack([s[key] for s in single]) for key in actual}, 1e-9)
        return
    same = metric(*(x[..., :700] for x in (estimate, reference)), lengths=[700] * 3)
    close(same, metric(*(x[..., :700] for x in (estimate, reference))), 1e-9)
    assert all(value.isfinite() for value in actual.values())


def test_empty_bands_flatter_unless_skipped():
    noise = torch.randn(2, 6000)
    with pytest.warns(UserWarning, match=r"2 of 80 mel filters.*\[0, 3\]"):
        flattering = RelativeVolumeMel(44_100)
    honest = RelativeVolumeMel(44_100, skip_empty_bands=True)
    assert honest.filters.shape == (257, 78)
    assert honest(noise, noise.flip(0))["rvm"] > flattering(noise, noise.flip(0))["rvm"]


def test_scale(pair):
    metric = RelativeVolumeMel()
    loud = metric(*(10 * x for x in pair))
    close(metric(*(1000 * x for x in pair)), loud, 1e-4)


def test_saturation_and_silence():
    metric = RelativeVolumeMel()
    sound = torch.randn(1, 3000)
    assert all(value == -25 for value in metric(-sound, sound).values())
    assert all(value == -25 for value in metric(0 * sound, 0 * sound).values())
    assert metric(1000 * sound, sound)["rvm"] == 25
    assert all(math.isnan(value) for value in metric(sound + torch.nan, sound).values())


def test_errors_are_those_of_the_original_with_a_reason():
    metric = RelativeVolumeMel()
    sound = torch.randn(2, 1000)
    for error in (RuntimeError, ShapeError):
        with pytest.raises(error, match="more than n_fft // 2 = 256"):
            metric(sound[..., :256], sound[..., :256])
        with pytest.raises(error, match="nothing is broadcast"):
            metric(sound[:1], sound)
        with pytest.raises(error, match="not empty"):
            metric(sound[..., :0], sound[..., :0])
        with pytest.raises(error, match=r"module torch.float32.*metric.to\(estimate.dtype\)"):
            metric(sound.double(), sound.double())
        with pytest.raises(error, match="int32"):
            metric(sound.int(), sound.int())
    metric(sound[..., :257], sound[..., :257])
    assert metric(sound.bfloat16(), sound.bfloat16())["rvm"].dtype == torch.float32
    with pytest.raises(ValueError, match="above max_relative_volume"):
        RelativeVolumeMel(min_relative_volume=1, max_relative_volume=0)
    with pytest.raises(ValueError, match="hop_length is 0"):
        RelativeVolumeMel(hop_length=0)
