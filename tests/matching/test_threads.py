"""Work in threads: the same results whatever their number, errors, and nothing left behind."""

import threading
from functools import partial

import pytest
import torch

from sonograd.effects import Chain, Compressor, Gain, ParametricEQ, TwoStageLimiter
from sonograd.errors import ParameterError
from sonograd.matching import match, match_batch, tangents
from sonograd.matching._threads import ahead, begin, side_by_side, threads_for_work
from sonograd.matching.align import REACH
from sonograd.matching.solve import Problem, normal_equations
from sonograd.matching.stages import Plan
from sonograd.params import Param

RATE = 16_000
BANDS = {"band1_gain_db": 5.0, "band2_frequency_hz": 1200.0, "band2_gain_db": -7.0}
SETTINGS = {"threshold_db": -24.0, "ratio": 3.0, "attack_ms": 6.0, "release_ms": 90.0}


def bursts(seconds=2.0, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(channels, round(seconds * RATE), generator=generator)
    swing = (torch.arange(noise.shape[-1]) * (9.0 / RATE)).sin().abs() ** 4
    return 0.2 * noise * (0.03 + swing)


def moved(x, fraction):
    spectrum = torch.fft.rfft(x.double())
    turns = torch.arange(spectrum.shape[-1], dtype=torch.float64) / x.shape[-1]
    return torch.fft.irfft(spectrum * torch.exp(-2j * torch.pi * turns * fraction), x.shape[-1])


def wait_for(barrier):
    barrier.wait(10)
    return threading.get_ident()


# -- tasks -------------------------------------------------------------------------------------


def test_tasks_run_at_the_same_time_and_answer_in_their_order():
    barrier = threading.Barrier(3)
    with threads_for_work(3):
        found = side_by_side([partial(wait_for, barrier)] * 3)
        assert side_by_side([lambda k=k: k for k in range(50)]) == list(range(50))
    assert len(set(found)) == 3
    assert threading.get_ident() in found


def test_without_threads_tasks_run_here():
    assert side_by_side([threading.get_ident] * 3) == [threading.get_ident()] * 3
    assert list(ahead([threading.get_ident] * 3)) == [threading.get_ident()] * 3
    assert begin(threading.get_ident)() == threading.get_ident()


def test_tasks_of_tasks_run_where_those_run():
    def inner():
        assert set(side_by_side([threading.get_ident] * 5)) == {threading.get_ident()}
        return begin(threading.get_ident)() == threading.get_ident()

    with threads_for_work(2):
        assert side_by_side([inner] * 20) == [True] * 20


def test_the_first_error_is_raised_and_the_rest_is_left():
    begun = []

    def task(k):
        begun.append(k)
        if k in {3, 4}:
            raise ValueError(f"task {k}")

    for count in (1, 2):
        begun.clear()
        with threads_for_work(count), pytest.raises(ValueError, match="task 3"):
            side_by_side([partial(task, k) for k in range(1000)])
        assert len(begun) < 1000
    with threads_for_work(2), pytest.raises(ValueError, match="task 3"):
        begin(partial(task, 3))()


def test_who_stops_asking_leaves_what_was_not_begun():
    held, begun = threading.Event(), []

    def task(k):
        begun.append(k)
        if k == 1:
            held.wait(10)
        return k

    with threads_for_work(2):
        asked = ahead([partial(task, k) for k in range(100)])
        for found in asked:
            if found == 0:
                break
        asked.close()
        held.set()
    assert len(begun) < 100


def test_what_is_begun_is_done_once_by_whoever_comes_first():
    done = []

    def task():
        done.append(threading.get_ident())
        return torch.zeros(1)

    for count in (1, 3):
        done.clear()
        with threads_for_work(count):
            finish = begin(task)
            assert finish() is finish()
        assert len(done) == 1


def test_threads_are_gone_at_the_end_and_those_of_torch_are_given_back():
    before, threads = threading.active_count(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for_work(3):
            assert side_by_side([torch.get_num_threads] * 6) == [1] * 6
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError, match="inside"), threads_for_work(3):
            raise ValueError("inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert threading.active_count() == before


# -- matches -----------------------------------------------------------------------------------


def same(first, second):
    return (
        first.values == second.values
        and repr(first.errors) == repr(second.errors)
        and torch.equal(first.processed, second.processed)
        and torch.equal(first.correlation, second.correlation)
        and first.alignment == second.alignment
        and first.history == second.history
        and first.variants == second.variants
    )


@pytest.mark.parametrize(
    ("chain", "asked", "values"),
    [
        (
            Chain(e=ParametricEQ(RATE, bands=2), c=Compressor(RATE), g=Gain(RATE)),
            "eq2,compressor,gain",
            {"e": BANDS, "c": SETTINGS, "g": {"gain_db": 3.0}},
        ),
        (
            Chain(c=Compressor(RATE, detector="rms", smoothing="gain")),
            "compressor",
            {"c": {**SETTINGS, "knee_db": 6.0}},
        ),
        (Chain(l=TwoStageLimiter(RATE)), "limiter", {"l": {"threshold_db": -20.0}}),
    ],
    ids=["chain", "variants", "limiter"],
)
def test_results_do_not_depend_on_the_number_of_threads(chain, asked, values):
    x = bursts(1.0, channels=1 + (asked == "compressor"))
    wet = moved(chain(x, **values), 3.3).float()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one, other = (match(x, wet, asked, sample_rate=RATE, threads=count) for count in (1, 3))
    finally:
        torch.set_num_threads(threads)
    assert same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("chain", ["eq2,compressor", "distortion"])
def test_a_chain_that_is_looked_for_does_not_depend_on_the_number_of_threads(chain):
    x = bursts()
    names = {"e": ParametricEQ(RATE, bands=2), "c": Compressor(RATE)}
    wet = Chain(**names)(x, e=BANDS, c=SETTINGS) if chain.startswith("eq") else (4 * x).tanh()
    one, two = (match(x, wet, bands=2, sample_rate=RATE, threads=count) for count in (1, 2))
    assert same(one, two)
    assert one.chain == two.chain
    assert [c.name for c in one.candidates] == [c.name for c in two.candidates]


def test_a_black_box_is_called_in_one_thread():
    seen = set()

    def process(x, drive):
        seen.add(threading.get_ident())
        return torch.tanh(drive * torch.as_tensor(x))

    x = bursts(0.5)
    drive = Param("drive", "1", 0.5, 20.0, 1.0, scale="log")
    wet = torch.tanh(4 * x)
    result = match(x, wet, process=process, parameters=[drive], sample_rate=RATE, threads=4)
    assert result.values["process"]["drive"] == pytest.approx(4.0, rel=1e-3)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("threads", [0, 1.5, True])
def test_refuses_numbers_of_threads_that_make_no_sense(threads):
    x = bursts(0.5)
    with pytest.raises(ParameterError, match=r"threads is .* expected a whole number"):
        match(x, x, "gain", sample_rate=RATE, threads=threads)


def test_processes_have_a_thread_each(monkeypatch):
    given = {}

    class Pool:
        def __init__(self, *_, **__):
            pass

        def submit(self, work, index, pair, options):
            given.update(options)
            raise KeyboardInterrupt

        def shutdown(self, **_):
            pass

    monkeypatch.setattr("sonograd.matching.batch.ProcessPoolExecutor", Pool)
    x = bursts(0.5)
    with pytest.raises(KeyboardInterrupt):
        match_batch([(x, x)] * 2, "gain", sample_rate=RATE, workers=2, threads=4)
    assert given["threads"] == 1


# -- tangents in pieces ------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_and_room_change_no_tangent(monkeypatch, channels):
    effect = Chain(e=ParametricEQ(RATE, bands=2), c=Compressor(RATE), g=Gain(RATE, invert=True))
    plan = Plan(effect, {"e": BANDS, "c": {**SETTINGS, "knee_db": 3.0}}, set())
    x = bursts(2.2, channels)[None].double()
    theta = plan.theta(plan.base)
    monkeypatch.setattr(tangents, "_STRETCH", 1 << 30)
    whole = plan.linearize(x, theta)
    monkeypatch.setattr(tangents, "_STRETCH", 1000)
    room = torch.full((len(plan), *x.shape), torch.nan)
    with threads_for_work(2):
        for _ in range(2):
            pieces = plan.linearize(x, theta, room)
            assert pieces.tangent.data_ptr() == room.data_ptr()
            assert torch.equal(pieces.tangent, whole.tangent)
            assert torch.equal(pieces.value, whole.value)


def test_normal_equations_are_those_of_the_whole_in_any_number_of_threads():
    plan = Plan(Chain(c=Compressor(RATE), g=Gain(RATE)), {"c": SETTINGS}, {"c.makeup_db"})
    x = bursts(7.0)[None].double()  # more samples than are made ready at once
    wet = torch.nn.functional.pad(0.9 * x, (REACH, REACH))
    problem = Problem(x, wet, context=100)
    dual = plan.linearize(x, plan.theta(plan.base))
    target, slope = problem.target(0.2), problem.target_slope(0.2)
    found = []
    for count in (1, 2):
        with threads_for_work(count):
            found.append(normal_equations(dual, problem, target, slope))
    rows = torch.cat([problem.counted(dual.tangent).double(), -slope[None]]).flatten(1)
    rest = (problem.counted(dual.value) - target).flatten()
    expected = (rows @ rows.mT, rows @ rest, float(rest.square().sum()))
    for one, two, true in zip(*found, expected, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(two))
        torch.testing.assert_close(one, true, rtol=1e-9, atol=1e-9)
