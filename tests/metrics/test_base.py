"""What the base class of accumulators promises, whatever is measured."""

import math

import pytest
import torch

from sonograd.errors import AudioError, MissingExtraError, ParameterError
from sonograd.metrics import (
    CSDR,
    PESQ,
    SNR,
    STOI,
    BSSEvalV4,
    ThresholdedSNR,
    make_accumulators,
    speech,
)


def snr_of(*values):
    metric = SNR(sample_rate=8000)
    for index, value in enumerate(values):
        reference = torch.ones(1, 1, 4)
        metric.update(reference * (1 - 10 ** (-value / 20)), reference, track=str(index))
    return metric


def test_statistics():
    statistic = snr_of(1.0, 2.0, 6.0).compute()["snr"]
    assert statistic.mean == pytest.approx(3.0, abs=1e-6)
    assert statistic.median == pytest.approx(2.0, abs=1e-6)
    assert (statistic.count, statistic.missing) == (3, 0)
    empty = SNR(sample_rate=8000).compute()["snr"]
    assert math.isnan(empty.mean)
    assert empty.count == 0


def test_values_without_a_number_are_counted_and_explained():
    metric = snr_of(1.0, 3.0)
    silence = torch.zeros(1, 1, 4)
    score = metric.update(silence, silence)[0]
    assert "silent" in score.reason
    perfect = metric.update(silence + 1, silence + 1)[0]
    assert perfect.values["snr"] == math.inf
    statistic = metric.compute()["snr"]
    assert (statistic.count, statistic.missing) == (3, 1)
    assert statistic.median == pytest.approx(3.0, abs=1e-6)
    assert statistic.mean == math.inf


def test_a_track_that_is_scored_again_replaces_its_score():
    metric = snr_of(1.0, 2.0)
    metric.update(torch.full((1, 1, 4), 0.9), torch.ones(1, 1, 4), track="1")
    assert [round(s.values["snr"]) for s in metric.scores] == [1, 20]
    for _ in range(2):
        metric.update(torch.full((1, 1, 4), 0.9), torch.ones(1, 1, 4))
    assert len(metric.scores) == 4


def test_targets_are_summarized_apart():
    metric = SNR(sample_rate=8000)
    reference = torch.ones(2, 1, 4)
    estimate = reference * torch.tensor([0.9, 0.99])[:, None, None]
    metric.update(estimate, reference, track="a", targets=["bass", "rest"])
    assert metric.compute(target="bass")["snr"].mean == pytest.approx(20, abs=1e-4)
    assert metric.compute(target="rest")["snr"].mean == pytest.approx(40, abs=1e-3)
    assert metric.compute()["snr"].count == 2


def test_a_gathered_copy_stands_alone():
    metric = snr_of(1.0, 2.0)
    copy = metric.gathered()
    assert copy.scores == metric.scores
    copy.reset()
    assert len(metric.scores) == 2


def _process(rank, path, queue):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    metric = snr_of()
    for index in range(rank, 5, 2):
        reference = torch.ones(1, 1, 4)
        metric.update(reference * (0.5 + 0.05 * index), reference, track=str(index))
    merged = metric.gathered()
    queue.put((rank, merged.compute()["snr"].mean, merged.compute()["snr"].median))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_equal_one(tmp_path):
    context = torch.multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    processes = [
        context.Process(target=_process, args=(rank, tmp_path / "store", queue)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    results = [queue.get() for _ in processes]
    for process in processes:
        process.join(30)
    alone = SNR(sample_rate=8000)
    for index in range(5):
        reference = torch.ones(1, 1, 4)
        alone.update(reference * (0.5 + 0.05 * index), reference, track=str(index))
    statistic = alone.compute()["snr"]
    assert [r[1:] for r in results] == [(statistic.mean, statistic.median)] * 2


def test_options_keep_scores_apart():
    with pytest.raises(ParameterError, match="cannot merge"):
        CSDR(sample_rate=8000).merge(CSDR(sample_rate=8000, window_s=2.0))
    with pytest.raises(ParameterError, match="cannot merge"):
        CSDR(sample_rate=8000).merge(CSDR(sample_rate=16000))
    assert "window_s=2.0" in repr(CSDR(sample_rate=8000, window_s=2.0))


def test_frames_are_kept_and_their_median_is_the_value():
    metric = BSSEvalV4(sample_rate=100, filter_length=2)
    estimate, reference = torch.randn(2, 2, 1, 350)
    reference[0, 0, 100:200] = 0
    score = metric.update(estimate, reference, track="a")[0]
    frames = score.frames["bss_v4_sdr"]
    assert len(frames) == 3
    assert math.isnan(frames[1])
    assert score.values["bss_v4_sdr"] == pytest.approx((frames[0] + frames[2]) / 2)
    assert score.values["bss_v4_silent_frames"] == 1
    level = 10 * math.log10(estimate[0, 0, 100:200].square().mean())
    assert score.values["bss_v4_residual_dbfs"] == pytest.approx(level, abs=1e-4)


def test_speech_metrics_refuse_what_they_cannot_score(monkeypatch):
    with pytest.raises(ParameterError, match="resample to 16000 Hz"):
        PESQ(sample_rate=44_100)
    with pytest.raises(ParameterError, match="band is 'mid'"):
        PESQ(sample_rate=16_000, band="mid")

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(speech.importlib, "import_module", absent)
    for metric in make_accumulators(["pesq", "stoi"], sample_rate=16_000):
        with pytest.raises(MissingExtraError, match=r"sonograd\[metrics\]"):
            metric.update(torch.randn(1, 16_000), torch.randn(1, 16_000))


def test_speech_metrics_equal_their_packages():
    pesq, pystoi = pytest.importorskip("pesq"), pytest.importorskip("pystoi")
    time = torch.arange(16_000, dtype=torch.float64) / 8000
    speech_like = torch.randn(16_000).double() * (torch.sin(2 * math.pi * 3 * time) > -0.2)
    noisy = speech_like + 0.3 * torch.randn(16_000).double()
    pair = noisy[None], speech_like[None]
    score = PESQ(sample_rate=8000, band="narrow").update(*pair)[0]
    expected = pesq.pesq(8000, speech_like.numpy(), noisy.numpy(), "nb")
    assert score.values["pesq"] == pytest.approx(expected)
    score = STOI(sample_rate=8000).update(*pair)[0]
    arrays = speech_like.numpy(), noisy.numpy()
    assert score.values["stoi"] == pytest.approx(pystoi.stoi(*arrays, 8000))
    assert score.values["estoi"] == pytest.approx(pystoi.stoi(*arrays, 8000, extended=True))


def test_speech_metrics_say_why_a_clip_has_no_value():
    pytest.importorskip("pystoi"), pytest.importorskip("pesq")
    metric = STOI(sample_rate=10_000)
    noise = torch.randn(1, 9000)
    for samples in (1, 100, 4096):
        score = metric.update(noise[:, :samples] + 0.1, noise[:, :samples])[0]
        assert f"{samples} samples are too short; expected at least 0.41 s" in score.reason
    assert metric.update(noise[:, :4097] + 0.1, noise[:, :4097])[0].reason == ""
    noise[:, 3000:] = 0
    score = metric.update(noise + 0.1, noise)[0]
    assert "too little is left without its silent parts; expected at least 0.41 s" in score.reason
    score = metric.update(0 * noise, noise)[0]
    assert score.reason == "stoi, estoi not defined: the reference or the estimate is silent"
    score = PESQ(sample_rate=16_000).update(noise[:, :100] + 0.1, noise[:, :100])[0]
    assert score.reason.startswith("PESQ refuses the clip: Buffer")


def test_no_value_needs_no_reason():
    for cls in (SNR, BSSEvalV4, ThresholdedSNR):
        assert cls(sample_rate=8000).explain([]) == ""


def test_audio_errors_become_reasons_and_others_do_not():
    class Broken(SNR):
        def measure(self, estimate, reference):
            raise AudioError("no score today") if estimate[0, 0, 0] > 0 else ZeroDivisionError

    metric = Broken(sample_rate=8000)
    assert metric.update(torch.ones(1, 4), torch.ones(1, 4))[0].reason == "no score today"
    with pytest.raises(ZeroDivisionError):
        metric.update(-torch.ones(1, 4), torch.ones(1, 4))


@pytest.mark.parametrize("name", ["bss_v4", "bss_v3"])
def test_a_target_alone_has_no_interference(name):
    (accumulator,) = make_accumulators([name], sample_rate=8000)
    reference = torch.randn(2, 1, 16000)
    estimate = reference + 0.1 * torch.randn(2, 1, 16000)
    (alone,) = accumulator.update(estimate[:1], reference[:1], track="a", targets=["vocals"])
    assert math.isnan(alone.values[f"{name}_sir"])
    assert all(math.isnan(value) for value in alone.frames[f"{name}_sir"])
    assert "there is one alone" in alone.reason
    assert alone.values[f"{name}_sar"] > 10
    both = accumulator.update(estimate, reference, track="b", targets=["vocals", "drums"])
    assert all(math.isfinite(score.values[f"{name}_sir"]) for score in both)
