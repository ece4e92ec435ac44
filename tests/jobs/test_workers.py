"""Chunks through workers: order, threads, bounded read-ahead, memory that runs out."""

import threading
import time
from pathlib import Path

import pytest
import torch

from sonograd.errors import ParameterError, SonogradError
from sonograd.jobs.resources import give_memory_back, resident_bytes
from sonograd.jobs.workers import ChunkRunner
from sonograd.separators import ChunkPlan, Separator

CPU = torch.device("cpu")


class Doubler(Separator):
    """Stems are the mix twice and the mix negated; notes what it sees."""

    stems = ("double", "minus")
    sample_rate = 8000
    channels = 1
    plan = ChunkPlan(length=100, hop=80)

    def __init__(self, *, limit=None, error=None):
        super().__init__()
        self.limit = limit
        self.error = error
        self.batches = []
        self.threads = []

    def forward(self, mix):
        self.batches.append(len(mix))
        self.threads.append(torch.get_num_threads())
        if self.error is not None:
            raise self.error
        if self.limit is not None and len(mix) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        # Earlier chunks take longer, so that order has to be restored.
        time.sleep(0.002 / float(mix.abs().max()))
        return torch.stack((2 * mix, -mix), dim=1)


def chunks(count):
    return [torch.full((1, 100), float(number + 1)) for number in range(count)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_results_come_in_order(workers, batch_size):
    with ChunkRunner(CPU, workers=workers, batch_size=batch_size) as runner:
        results = list(runner.run(Doubler(), chunks(11)))
    assert [result.shape for result in results] == [(2, 1, 100)] * 11
    assert [float(result[0, 0, 0]) for result in results] == [2.0 * n for n in range(1, 12)]
    assert [float(result[1, 0, 0]) for result in results] == [-1.0 * n for n in range(1, 12)]


def test_each_worker_has_one_thread_and_threads_come_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        separator = Doubler()
        with ChunkRunner(CPU, workers=2) as runner:
            assert torch.get_num_threads() == 1
            list(runner.run(separator, chunks(6)))
        assert separator.threads == [1] * 6
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError, match="stop"), ChunkRunner(CPU, workers=2):
            raise ValueError("stop")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_thread_is_left_behind():
    with ChunkRunner(CPU, workers=3) as runner:
        list(runner.run(Doubler(), chunks(6)))
    assert not [t for t in threading.enumerate() if t.name.startswith("sonograd")]


def test_chunks_are_taken_no_faster_than_results():
    taken = []

    def source():
        for number, chunk in enumerate(chunks(50)):
            taken.append(number)
            yield chunk

    with ChunkRunner(CPU, workers=2, batch_size=3) as runner:
        results = runner.run(Doubler(), source())
        next(results)
        assert len(taken) == (2 + 1) * 3
        results.close()


def test_silence_does_not_need_the_model():
    separator = Doubler()
    with ChunkRunner(CPU, workers=1) as runner:
        (result,) = runner.run(separator, [torch.zeros(1, 100)])
    assert separator.batches == []
    assert torch.equal(result, torch.zeros(2, 1, 100))


def test_batches_become_smaller_when_memory_runs_out():
    separator = Doubler(limit=3)
    with ChunkRunner(CPU, workers=1, batch_size=16) as runner:
        results = list(runner.run(separator, chunks(40)))
        assert runner.batch_size == 2
    assert [float(result[0, 0, 0]) for result in results] == [2.0 * n for n in range(1, 41)]
    assert separator.batches[:3] == [16, 8, 4]


def test_one_chunk_too_many_is_an_error_with_a_remedy():
    with (
        ChunkRunner(CPU, workers=1, batch_size=2) as runner,
        pytest.raises(SonogradError, match="not enough memory for one chunk of 100 samples"),
    ):
        list(runner.run(Doubler(limit=0), chunks(3)))


def test_other_errors_pass_through():
    with (
        ChunkRunner(CPU, workers=2) as runner,
        pytest.raises(RuntimeError, match="shapes differ"),
    ):
        list(runner.run(Doubler(error=RuntimeError("shapes differ")), chunks(9)))


def test_lower_precision_gives_float32_back():
    class Linear(Doubler):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(100, 100)

        def forward(self, mix):
            hidden = self.layer(mix)
            self.dtype = hidden.dtype
            return torch.stack((hidden, hidden), dim=1)

    separator = Linear().eval()
    with ChunkRunner(CPU, workers=1, precision="bf16") as runner:
        (low,) = runner.run(separator, chunks(1))
    assert separator.dtype == torch.bfloat16
    with ChunkRunner(CPU, workers=1) as runner:
        (full,) = runner.run(separator, chunks(1))
    assert low.dtype == full.dtype == torch.float32
    assert 0 < float((low - full).abs().max()) < 0.05


@pytest.mark.parametrize("options", [{"workers": 0}, {"batch_size": 0}])
def test_numbers_below_one_are_refused(options):
    with pytest.raises(ParameterError, match="expected at least 1"):
        ChunkRunner(CPU, **options)


def test_memory_that_piles_up_is_given_back(monkeypatch):
    """More than after the first four chunks, silence aside; what is left then is usual."""
    given_back, done = [], []
    resident = iter([100, 200, 150, 180, *[209] * 20, 211, 100, 209, 300, 250, 262, 263, 200])
    monkeypatch.setattr("sonograd.jobs.workers.resident_bytes", lambda: next(resident))
    monkeypatch.setattr(
        "sonograd.jobs.workers.give_memory_back", lambda: given_back.append(len(done))
    )
    separator = Doubler().eval()
    silence, noise = torch.zeros(1, 100), torch.randn(1, 100)
    with ChunkRunner(CPU, workers=1) as runner:
        list(runner.map(lambda _: None, range(9)))  # as when a song is heard first
        for _ in runner.run(separator, [silence] * 5):
            pass
        for _ in range(29):
            list(runner.run(separator, [noise]))
            done.append(None)
    assert given_back == [24, 26, 28]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say")
def test_resident_memory_is_that_in_use():
    before = resident_bytes()
    kept = torch.ones(1 << 24)
    assert resident_bytes() - before > 3 << 24
    del kept
    give_memory_back()
    assert resident_bytes() - before < 1 << 24
