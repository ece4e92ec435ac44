import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd.errors import ParameterError, ShapeError
from sonograd.separators import ChunkPlan, Ensemble, SelectStems, Separator, TimeShifts


class Toy(Separator):
    """A filter and what it leaves; then a shift that depends on the place in the chunk."""

    stems = ("smooth", "rough")
    sample_rate = 1000

    def __init__(self, plan, *, channels=2, exact=True):
        super().__init__()
        self.plan = plan
        self.channels = channels
        self.exact = exact
        self.batches = []

    def forward(self, mix):
        self.batches.append(mix.shape[0])
        smooth = (mix + mix.roll(1, -1) + mix.roll(-1, -1)) / 3
        if not self.exact:
            smooth = smooth * torch.linspace(0, 1, mix.shape[-1], dtype=mix.dtype)
        return torch.stack((smooth, mix - smooth), dim=1)


plans = st.builds(
    lambda length, hop, context, offset: ChunkPlan(
        length, min(hop, length), context, min(offset, length - 1)
    ),
    st.integers(1, 25),
    st.integers(1, 25),
    st.integers(0, 6),
    st.integers(0, 24),
)


def stream_in_blocks(stream, mix, sizes):
    parts, begin = [], 0
    while begin < mix.shape[-1]:
        size = sizes[len(parts) % len(sizes)]
        parts.append(stream.push(mix[:, begin : begin + size]))
        begin += size
    parts.append(stream.finish())
    return torch.cat(parts, dim=-1)


@given(
    plan=plans,
    samples=st.integers(0, 120),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    batch_size=st.integers(1, 4),
)
def test_any_blocks_and_batches_equal_the_whole(plan, samples, sizes, batch_size):
    toy = Toy(plan, exact=False)
    mix = torch.randn(2, samples)
    whole = toy.separate(mix)
    assert whole.shape == (2, 2, samples)
    assert torch.equal(stream_in_blocks(toy.stream(), mix, sizes), whole)
    batched = stream_in_blocks(toy.stream(batch_size=batch_size), mix, sizes)
    torch.testing.assert_close(batched, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.sum(0), mix, rtol=0, atol=1e-6)


@given(samples=st.integers(1, 90), overlap=st.floats(0, 0.95), length=st.integers(2, 30))
def test_edges_are_as_good_as_the_middle(samples, overlap, length):
    toy = Toy(ChunkPlan(length, length, context=1))
    mix = torch.randn(2, samples, dtype=torch.float64)
    padded = torch.nn.functional.pad(mix, (1, 1))
    expected = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    actual = toy.separate(mix, overlap=overlap)
    torch.testing.assert_close(actual[0], expected, rtol=0, atol=1e-13)


def test_memory_and_latency_are_bounded():
    toy = Toy(ChunkPlan(50, 40, context=5), channels=1)
    stream = toy.stream()
    late = 0
    for received in range(7, 2000, 7):
        stream.push(torch.randn(1, 7))
        late = max(late, received - stream._emitted)
        held = sum(
            block.untyped_storage().nbytes() // 4 for block in stream._lanes[0].chunker._held
        )
        assert held <= 2 * toy.plan.input_length + 7
    # What waits for its neighbor to be averaged comes one hop later.
    assert late < toy.plan.latency + toy.plan.hop


def test_batches_are_full_but_the_last():
    toy = Toy(ChunkPlan(10, 10), channels=1)
    toy.separate(torch.randn(1, 95), batch_size=4)
    assert toy.batches == [4, 4, 2]
    toy.batches.clear()
    stream = toy.stream(batch_size=4)
    stream.push(torch.randn(1, 95))
    assert toy.batches == [4, 4]


def test_a_buffer_may_be_filled_again():
    toy = Toy(ChunkPlan(10, 5), channels=1)
    mix = torch.randn(1, 60)
    buffer = torch.empty(1, 6)
    stream, parts = toy.stream(), []
    for begin in range(0, 60, 6):
        buffer.copy_(mix[:, begin : begin + 6])
        parts.append(stream.push(buffer))
    parts.append(stream.finish())
    assert torch.equal(torch.cat(parts, dim=-1), toy.separate(mix))


def test_leading_dimensions_and_progress():
    toy = Toy(ChunkPlan(100, 80))
    mix = torch.randn(3, 2, 2, 250)
    seen = []
    stems = toy.separate(mix, on_progress=lambda done, total: seen.append((done, total)))
    assert stems.shape == (3, 2, 2, 2, 250)
    assert torch.equal(stems[1, 1], toy.separate(mix[1, 1]))
    assert [total for _, total in seen] == [1.5] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1.5, 1.5)
    assert toy.separate(mix[:0]).shape == (0, 2, 2, 2, 250)


def test_no_samples():
    toy = Toy(ChunkPlan(100, 80))
    empty = toy.separate(torch.zeros(2, 0, dtype=torch.float64), on_progress=lambda *_: 1 / 0)
    assert empty.shape == (2, 2, 0)
    assert empty.dtype == torch.float64
    assert toy.stream().finish().shape == (2, 2, 0)


def test_silent_chunks_give_silence_and_evaluation_mode_no_gradients():
    class Noisy(Toy):
        def forward(self, mix):
            return super().forward(mix) + 1

    noisy = Noisy(ChunkPlan(10, 10)).train()
    mix = torch.randn(2, 30)
    mix[:, 10:20] = 0
    mix.requires_grad_()
    stems = noisy.separate(mix)
    assert not noisy.training
    assert not stems.requires_grad
    assert (stems[..., 10:20] == 0).all()
    assert (stems[..., :10] != 0).any()


def test_errors():
    toy = Toy(ChunkPlan(10, 10))
    with pytest.raises(ShapeError, match=r"mix has shape \(9, 2\).*Then pass mix.mT"):
        toy.separate(torch.randn(9, 2))
    with pytest.raises(ShapeError, match=r"block has shape \(1, 2, 9\); expected \(2, samples\)"):
        toy.stream().push(torch.randn(1, 2, 9))
    with pytest.raises(ShapeError, match="block has dtype"):
        toy.stream().push(torch.zeros(2, 9, dtype=torch.int16))
    with pytest.raises(ParameterError, match="batch_size is 0"):
        toy.stream(batch_size=0)
    with pytest.raises(ParameterError, match="overlap is 1;"):
        toy.separate(torch.randn(2, 9), overlap=1)
    stream = toy.stream()
    stream.finish()
    with pytest.raises(ParameterError, match="this stream is finished"):
        stream.push(torch.randn(2, 9))
    with pytest.raises(ParameterError, match="this stream is finished"):
        stream.finish()


class Speakers(Separator):
    """Two stems that are not alike, in an order that depends on the chunk."""

    stems = ("speaker 1", "speaker 2")
    sample_rate = 1000
    channels = 2
    interchangeable = True

    def __init__(self, plan):
        super().__init__()
        self.plan = plan

    def forward(self, mix):
        stems = torch.stack((mix.relu(), -(-mix).relu()), dim=1)
        turned = mix[:, :1, mix.shape[-1] // 2 :][..., :1, None] > 0
        return torch.where(turned, stems.flip(1), stems)


@pytest.mark.parametrize(
    "plan",
    [
        ChunkPlan(40, 30),
        ChunkPlan(40, 30, context=3),
        ChunkPlan(40, 30, fit=(1, 1)),
        ChunkPlan(40, 20, offset=20, mirror=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_speakers_keep_their_places(plan, batch_size):
    separator = Speakers(plan)
    mix = torch.randn(2, 1000)
    stems = separator.separate(mix, batch_size=batch_size)
    found = stems if stems[0].min() >= 0 else stems.flip(0)
    torch.testing.assert_close(found, torch.stack((mix.relu(), -(-mix).relu())))
    second = SelectStems(separator, ["speaker 2"])
    assert torch.equal(second.separate(mix, batch_size=batch_size), stems[1:])
    assert torch.equal(stream_in_blocks(second.stream(batch_size=batch_size), mix, [7]), stems[1:])


def test_speakers_are_not_averaged():
    separator = Speakers(ChunkPlan(40, 30))
    with pytest.raises(ParameterError, match="gives speaker 1, speaker 2 in any order"):
        Ensemble([separator, separator])
    with pytest.raises(ParameterError, match="they cannot be averaged over models or copies"):
        TimeShifts(separator, [1])
