import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.separators import (
    CenterExtraction,
    ChunkPlan,
    Ensemble,
    HarmonicPercussive,
    SelectStems,
    Separator,
    TimeShifts,
    Transformed,
    augmented,
    draw_shifts,
)
from sonograd.separators.survey import LevelSurvey


class Gain(Separator):
    """Two stems: the mix times a number, and what remains; looks at its place in the chunk."""

    sample_rate = 1000

    def __init__(self, gain, plan=None, *, stems=("a", "b"), placed=False, leveled=False):
        super().__init__()
        self.stems, self.channels = stems, 2
        self.plan = plan or ChunkPlan(64, 48, context=4)
        self.gain, self.placed, self.leveled = gain, placed, leveled

    def forward(self, mix):
        gain = torch.tensor([self.gain, 0.5 * self.gain], dtype=mix.dtype)[:, None]
        if self.placed:
            gain = gain * torch.linspace(0, 1, mix.shape[-1], dtype=mix.dtype)
        return torch.stack([gain * mix, mix - gain * mix], dim=1)

    def survey(self, plan=None, *, blocks=None):
        return LevelSurvey(self, plan or self.plan) if self.leveled else None


MIX = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def streamed(separator, mix, size=77):
    heard = separator.hear(lambda: mix.split(size, dim=-1))
    stream = separator.stream(heard=heard)
    parts = [stream.push(block) for block in mix.split(size, dim=-1)]
    return torch.cat([*parts, stream.finish()], dim=-1)


def test_weights_count_per_member_and_stem():
    members = [Gain(0.2), Gain(0.6, ChunkPlan(200, 100))]
    first, second = (member.separate(MIX) for member in members)
    close(Ensemble(members).separate(MIX), (first + second) / 2)
    close(Ensemble(members, [1, 3]).separate(MIX), (first + 3 * second) / 4)
    bag = Ensemble(members, [[1, 0], [1, 2]])
    close(bag.separate(MIX)[0], (first + second)[0] / 2)
    close(bag.separate(MIX)[1], second[1])
    assert torch.equal(streamed(bag, MIX), bag.separate(MIX))


def test_stems_are_joined_by_name():
    turned = Gain(0.6, stems=("b", "a", "c"))
    turned.forward = lambda mix: torch.stack([mix, 2 * mix, 3 * mix], dim=1)
    whole = Ensemble([Gain(0.2), turned])
    assert whole.stems == ("a", "b")
    first = Gain(0.2).separate(MIX)
    close(whole.separate(MIX), (first + torch.stack([2 * MIX, MIX])) / 2)
    more = Ensemble([Gain(0.2), turned], [[1, 1, 0], [0, 0, 1]], stems=("b", "a", "c"))
    close(more.separate(MIX), torch.stack([first[1], first[0], 3 * MIX]))
    close(SelectStems(more, ["c", "b"]).separate(MIX), torch.stack([3 * MIX, first[1]]))


def test_ensembles_can_hold_ensembles():
    inner = Ensemble([Gain(0.1), Gain(0.3)])
    outer = Ensemble([inner, Gain(0.8)], [1, 3])
    close(outer.separate(MIX), (inner.separate(MIX) + 3 * Gain(0.8).separate(MIX)) / 4)
    shifted = Ensemble([TimeShifts(Gain(0.1), [0, 5, 9]), Gain(0.7)])
    close(shifted.separate(MIX), (Gain(0.1).separate(MIX) + Gain(0.7).separate(MIX)) / 2)


def test_overlap_is_that_of_every_member():
    members = [Gain(0.2, ChunkPlan(100, 80)), Gain(0.6, ChunkPlan(64, 64))]
    plan = Ensemble(members).plan.with_overlap(0.5)
    assert [lane.plan.hop for lane in Ensemble(members).lanes(plan)] == [50, 32]


@pytest.mark.parametrize("change", [{"swap_channels": True}, {"invert": True}])
def test_changes_are_undone(change):
    model = Gain(0.3, placed=True, leveled=True)
    copy = Transformed(model, **change)
    close(copy.separate(MIX), model.separate(MIX) if "invert" in change else swapped(model))
    assert torch.equal(streamed(copy, MIX), copy.separate(MIX))


def swapped(model):
    return model.separate(MIX.flip(0)).flip(1)


def test_shifts_move_the_chunks():
    model = Gain(0.3, ChunkPlan(100, 60), placed=True)
    padded = torch.nn.functional.pad(MIX, (25, 0))
    expected = (model.separate(MIX) + model.separate(padded)[..., 25:]) / 2
    close(TimeShifts(model, [0, 25]).separate(MIX), expected)
    # More than a chunk of silence brings no other chunks.
    far = torch.nn.functional.pad(MIX, (1025, 0))
    close(TimeShifts(model, [1025]).separate(MIX), model.separate(far)[..., 1025:])


def test_levels_survive_shifts():
    model = Gain(0.3, ChunkPlan(100, 60, fit=(1, 1)), placed=True, leveled=True)
    shifted = TimeShifts(model, [17])
    mono = MIX.mean(0)
    level = mono.std() + 1e-8
    plain = Gain(0.3, model.plan.shifted(17), placed=True)
    expected = plain.separate((MIX - mono.mean()) / level) * level + mono.mean()
    close(shifted.separate(MIX), expected)


def test_augmentation_multiplies_copies():
    model = CenterExtraction(sample_rate=1000, channels=2)
    assert augmented(model) is model
    assert len(augmented(model, swap_channels=True, invert=True).lanes()) == 3
    shifted = augmented(model, shifts=2, swap_channels=True, seed=3)
    assert len(shifted.lanes()) == 4
    assert shifted.shifts == tuple(draw_shifts(2, 1000, seed=3))
    assert draw_shifts(5, 1000, seed=3) != draw_shifts(5, 1000, seed=4)
    assert max(draw_shifts(99, 1000)) <= 500
    mix = MIX.float()
    # A center is the same from left and right; so is its average.
    close(augmented(model, swap_channels=True).separate(mix), model.separate(mix).float())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ParameterError, match="there are no members"):
        Ensemble([])
    with pytest.raises(ParameterError, match="members of an ensemble need the same"):
        Ensemble([Gain(1), HarmonicPercussive(sample_rate=999, channels=2)])
    with pytest.raises(ParameterError, match="no stem in common"):
        Ensemble([Gain(1), Gain(1, stems=("c", "d"))])
    with pytest.raises(ParameterError, match="has no stem 'c', only a, b"):
        Ensemble([Gain(1)], stems=("c",))
    with pytest.raises(ParameterError, match="expected 2 numbers, or 2 rows of 2"):
        Ensemble([Gain(1), Gain(1)], [1])
    with pytest.raises(ParameterError, match="numbers of at least 0"):
        Ensemble([Gain(1), Gain(1)], [1, -1])
    with pytest.raises(ParameterError, match="add up to nothing"):
        Ensemble([Gain(1), Gain(1)], [[0, 1], [0, 1]])
    with pytest.raises(ParameterError, match="expected one or more numbers of samples"):
        TimeShifts(Gain(1), [])
