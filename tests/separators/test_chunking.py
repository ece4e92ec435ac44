import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd.errors import ParameterError
from sonograd.separators import Chunker, ChunkPlan, OverlapAdd
from sonograd.separators.chunking import mirrored_plan


@st.composite
def plans(draw):
    length = draw(st.integers(1, 30))
    return ChunkPlan(
        length=length,
        hop=draw(st.integers(1, length)),
        context=draw(st.integers(0, 12)),
        offset=draw(st.integers(0, length - 1)),
    )


def chunks_of(plan, signal):
    chunker = Chunker(plan)
    return [*chunker.push(signal), *chunker.finish()]


def put_together(plan, chunks, samples):
    overlap_add = OverlapAdd(plan)
    parts = [overlap_add.add(index, chunk) for index, chunk in chunks]
    rest = overlap_add.finish(samples)
    return torch.cat([*parts, rest], dim=-1)[..., :samples]


@given(plan=plans(), samples=st.integers(0, 100))
def test_count_is_the_least_that_covers_the_signal(plan, samples):
    count = plan.count(samples)
    ends = [k * plan.hop - plan.offset + plan.length for k in range(count)]
    assert (count == 0) == (samples == 0)
    if count:
        assert ends[-1] >= samples
        assert count == 1 or ends[-2] < samples


@given(plan=plans(), samples=st.integers(1, 100))
def test_chunks_show_the_signal_in_its_place_and_silence_around_it(plan, samples):
    signal = torch.arange(1.0, samples + 1)
    chunks = chunks_of(plan, signal)
    assert [index for index, _ in chunks] == list(range(plan.count(samples)))
    margin = plan.input_length + plan.offset + plan.hop
    around = np.pad(signal.numpy(), margin)
    for index, chunk in chunks:
        begin = margin + index * plan.hop - plan.offset - plan.context
        np.testing.assert_array_equal(chunk, around[begin : begin + plan.input_length])


@given(plan=plans(), samples=st.integers(1, 100))
def test_unchanged_chunks_restore_the_signal(plan, samples):
    signal = torch.randn(2, samples, dtype=torch.float64)
    restored = put_together(plan, chunks_of(plan, signal), samples)
    torch.testing.assert_close(restored, signal, rtol=0, atol=1e-13)


@given(plan=plans(), samples=st.integers(1, 100), data=st.data())
def test_blocks_of_any_size_give_the_same_chunks(plan, samples, data):
    signal = torch.randn(samples)
    cuts = data.draw(st.lists(st.integers(0, samples), max_size=8).map(sorted))
    chunker = Chunker(plan)
    got = []
    for begin, end in zip([0, *cuts], [*cuts, samples], strict=True):
        for index, chunk in chunker.push(signal[begin:end]):
            # A chunk comes as soon as all it shows has arrived, and no later.
            assert index * plan.hop + plan.latency <= end
            got.append((index, chunk))
        assert len(got) == max(0, (end - plan.latency) // plan.hop + 1)
    got += chunker.finish()
    assert chunker.received == samples
    for (i, a), (j, b) in zip(got, chunks_of(plan, signal), strict=True):
        assert i == j
        assert torch.equal(a, b)


@given(plan=plans(), samples=st.integers(1, 60), data=st.data())
def test_no_seam_where_the_context_covers_a_filter(plan, samples, data):
    before = data.draw(st.integers(0, plan.context))
    taps = 1 + before + data.draw(st.integers(0, plan.context))
    signal = torch.randn(1, 1, samples, dtype=torch.float64)
    kernel = torch.randn(1, 1, taps, dtype=torch.float64)

    def convolve(x):
        padded = torch.nn.functional.pad(x, (before, taps - 1 - before))
        return torch.nn.functional.conv1d(padded, kernel)

    chunks = [(index, convolve(chunk)) for index, chunk in chunks_of(plan, signal)]
    whole = convolve(signal)
    restored = put_together(plan, chunks, samples)
    torch.testing.assert_close(restored, whole, rtol=0, atol=1e-12)


@given(plan=plans(), samples=st.integers(1, 100))
def test_weights_sum_to_one_and_change_slowly(plan, samples):
    weights = plan.weights(dtype=torch.float64, device=torch.device("cpu"))
    assert weights.shape == (plan.length,)
    assert (weights > 0).all()
    assert torch.equal(weights, weights.flip(0))
    step = 1 / max(plan.length - plan.hop, 0.5)
    assert plan.length == 1 or weights.diff().abs().max() <= step + 1e-12
    # Chunk k says k: what comes out lies between the chunks that cover it.
    chunks = [(k, torch.full((plan.input_length,), float(k))) for k in range(plan.count(samples))]
    result = put_together(plan, chunks, samples)
    assert (result.diff() >= -1e-5).all()
    assert result.min() >= 0
    assert result.max() <= plan.count(samples) - 1 + 1e-5


def test_the_first_and_last_samples_count_in_full():
    plan = ChunkPlan(length=10, hop=2, offset=9)
    result = put_together(plan, chunks_of(plan, torch.ones(7)), 7)
    torch.testing.assert_close(result, torch.ones(7), rtol=0, atol=1e-6)


def test_overlap_and_padding():
    plan = ChunkPlan(length=100, hop=100, context=3, offset=5)
    assert plan.input_length == 106
    assert plan.latency == 98
    assert plan.with_overlap(0.25) == ChunkPlan(length=100, hop=75, context=3, offset=5)
    assert plan.with_overlap(0.999).hop == 1
    assert plan.with_overlap(0).hop == 100
    assert plan.with_padding(30).hop == 70
    assert plan.grid == 1
    for overlap in (-0.1, 1, float("nan")):
        with pytest.raises(ParameterError, match=r"overlap is .*; expected a fraction in \[0, 1\)"):
            plan.with_overlap(overlap)
    with pytest.raises(ParameterError, match="padding is 100 samples; expected 0 <= padding < 100"):
        plan.with_padding(100)


@pytest.mark.parametrize("bad", [(0, 1), (4, 0), (4, 5)])
def test_plans_with_gaps_are_refused(bad):
    with pytest.raises(ParameterError, match="leaves gaps"):
        ChunkPlan(*bad)


@pytest.mark.parametrize("bad", [{"context": -1}, {"offset": -1}, {"offset": 4}])
def test_plans_out_of_range_are_refused(bad):
    with pytest.raises(ParameterError, match="expected context >= 0 and 0 <= offset < length"):
        ChunkPlan(4, 2, **bad)


def test_chunks_must_come_in_order_and_whole():
    overlap_add = OverlapAdd(ChunkPlan(4, 2))
    with pytest.raises(ParameterError, match="chunk 1 of 4 samples arrived; expected chunk 0 of 4"):
        overlap_add.add(1, torch.zeros(4))
    with pytest.raises(ParameterError, match="chunk 0 of 3 samples arrived"):
        overlap_add.add(0, torch.zeros(3))
    assert overlap_add.finish(0) is None


def test_a_grid_has_at_least_one_sample():
    with pytest.raises(ParameterError, match="grid is 0 samples; expected at least 1"):
        ChunkPlan(length=3, hop=3, grid=0)


@given(length=st.integers(1, 300), grid=st.integers(1, 400), data=st.data())
def test_a_chosen_overlap_stays_on_the_grid(length, grid, data):
    padding = data.draw(st.integers(0, length - 1))
    plan = ChunkPlan(length=length, hop=length, grid=grid).with_padding(padding)
    if grid > length:
        assert plan.hop == length - padding
    else:
        assert plan.hop % grid == 0
        assert length - padding - grid < plan.hop <= max(length - padding, grid)


def msst_demix(model, mix, chunk, num_overlap):
    """Return what the generic inference of a well-known training program gives, one by one."""
    step = chunk // num_overlap
    border, fade = chunk - step, chunk // 10
    samples = mix.shape[-1]
    padded = torch.nn.functional.pad(mix, (border, border), mode="reflect")
    total = padded.shape[-1]
    ramp = torch.linspace(0, 1, fade, dtype=mix.dtype)
    result, counter, position = torch.zeros_like(padded), torch.zeros(total, dtype=mix.dtype), 0
    while position < total:
        part = padded[:, position : position + chunk]
        size = part.shape[-1]
        mode = "reflect" if size > chunk // 2 + 1 else "constant"
        part = torch.nn.functional.pad(part, (0, chunk - size), mode=mode)
        window = torch.ones(chunk, dtype=mix.dtype)
        if position > 0:
            window[:fade] *= ramp
        if position + step < total:
            window[-fade:] *= ramp.flip(0)
        result[:, position : position + size] += (model(part) * window)[:, :size]
        counter[position : position + size] += window[:size]
        position += step
    return (result / counter)[:, border : border + samples]


@pytest.mark.parametrize("num_overlap", [2, 3, 4, 5])
@pytest.mark.parametrize("samples", [199, 240, 241, 511, 1000])
def test_mirrored_plans_are_the_inference_of_the_roformers(num_overlap, samples):
    chunk = 120
    plan = mirrored_plan(chunk, num_overlap)
    mix = torch.randn(2, samples, dtype=torch.float64)

    def model(part):  # looks at all of its chunk
        return part * part.cumsum(-1) + part.flip(-1)

    expected = msst_demix(model, mix, chunk, num_overlap)
    chunker, overlap_add, parts = Chunker(plan), OverlapAdd(plan), []
    for begin in range(0, samples, 77):
        for index, piece in chunker.push(mix[:, begin : begin + 77]):
            parts.append(overlap_add.add(index, model(piece)))
    for index, piece in chunker.finish():
        parts.append(overlap_add.add(index, model(piece)))
    parts.append(overlap_add.finish(samples))
    actual = torch.cat(parts, -1)[:, :samples]
    assert actual.isfinite().all()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shift", [0, 7, 59, 1000])
@pytest.mark.parametrize("num_overlap", [1, 2, 4])
@pytest.mark.parametrize("samples", [1, 2, 7, 60, 61, 100, 125])
def test_mirrored_plans_leave_no_seam_and_take_short_signals(num_overlap, samples, shift):
    plan = mirrored_plan(60, num_overlap).shifted(shift)
    signal = torch.randn(samples, dtype=torch.float64)
    chunker, overlap_add, parts = Chunker(plan), OverlapAdd(plan), []
    for index, piece in [*chunker.push(signal), *chunker.finish()]:
        assert piece.shape == (60,)
        parts.append(overlap_add.add(index, piece))
    parts.append(overlap_add.finish(samples))
    torch.testing.assert_close(torch.cat(parts)[:samples], signal)


def test_other_overlaps_of_mirrored_plans_keep_their_offset():
    plan = mirrored_plan(60, 4).with_overlap(0.5)
    assert (plan.hop, plan.offset, plan.latency) == (30, 30, 60)
    with pytest.raises(ParameterError, match="offset is 1; expected at least the overlap, 30"):
        ChunkPlan(60, 30, offset=1, mirror=True)
