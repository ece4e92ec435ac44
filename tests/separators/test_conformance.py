"""What every separator owes, whatever is inside; new ones are found by themselves."""

import re
import runpy
from pathlib import Path

import pytest
import torch

import sonograd.separators
from sonograd.config.common import target_problems
from sonograd.errors import ShapeError
from sonograd.separators import Separator

TINY = runpy.run_path(str(Path(__file__).with_name("tiny.py")))["TINY"]


def concrete(cls):
    """Return the subclasses that the package offers, and those that nothing is derived from."""
    found = set()
    for child in cls.__subclasses__():
        # Collecting doctests may import a module twice: the package's own class counts.
        public = getattr(sonograd.separators, child.__name__, None)
        unknown = public is None and not child.__subclasses__()
        if child.__module__.startswith("sonograd.") and (public is child or unknown):
            found.add(child)
        found |= concrete(child)
    return found


def class_on_the_page():
    """Return the separator that the documentation shows how to write."""
    page = Path(__file__).parents[2] / "docs" / "add_a_separator.md"
    code = re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[1]
    namespace = {"__name__": "add_a_separator"}
    exec(compile(code, str(page), "exec"), namespace)
    return namespace["SoftSplit"]


SOFT_SPLIT = class_on_the_page()
TINY[SOFT_SPLIT] = lambda: SOFT_SPLIT(sample_rate=1000)
SEPARATORS = sorted({*concrete(Separator), SOFT_SPLIT}, key=lambda cls: cls.__name__)


@pytest.fixture(params=SEPARATORS, ids=lambda cls: cls.__name__)
def separator(request):
    if request.param not in TINY:
        pytest.fail(f"add a builder of {request.param.__name__} to tests/separators/tiny.py")
    return TINY[request.param]().eval()


def lengths_of(separator):
    chunk = separator.plan.input_length
    return [0, 1, 2, 17, 101, min(chunk, 3000) + 1]


def mix_of(separator, samples, *, batch=(), dtype=torch.float32):
    return torch.randn(*batch, separator.channels, samples, dtype=dtype) / 10


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6)


def test_the_table_holds_nothing_else():
    assert set(TINY) <= set(SEPARATORS), "tests/separators/tiny.py names what is no separator"


def test_declares_what_it_is(separator):
    assert separator.stems
    assert target_problems(separator.stems) == []
    assert separator.sample_rate >= 1
    assert separator.channels >= 1
    assert separator.plan.input_length >= 1


def test_shape_and_type_for_any_length(separator):
    for dtype in (torch.float32, torch.float64):
        separator.to(dtype)
        for samples in lengths_of(separator):
            for batch in (0, 1, 2):
                mix = mix_of(separator, samples, batch=(batch,), dtype=dtype)
                kept = mix.clone()
                with torch.no_grad():
                    stems = separator(mix)
                assert stems.shape == (batch, len(separator.stems), *mix.shape[1:])
                assert stems.dtype == dtype
                assert stems.isfinite().all()
                assert torch.equal(mix, kept)


def test_single_and_double_precision_agree(separator):
    mix = mix_of(separator, 700, batch=(1,), dtype=torch.float64)
    with torch.no_grad():
        single = separator(mix.float())
        double = separator.double()(mix)
    # Masks that compare frames may choose another one where two are equally good.
    error = (single - double).square().mean() / mix.square().mean()
    assert error < 1e-4


def test_silence_gives_silence(separator):
    for samples in (1, 500):
        assert (separator.separate(torch.zeros(separator.channels, samples)) == 0).all()
        with torch.no_grad():
            stems = separator(torch.zeros(2, separator.channels, samples))
        assert stems.isfinite().all()
        assert stems.abs().max() < 1e-6


def test_items_do_not_interact(separator):
    mix = mix_of(separator, 600, batch=(3,))
    with torch.no_grad():
        together = separator(mix)
        for item, stems in zip(mix, together, strict=True):
            close(separator(item[None])[0], stems)
        mix[1] = float("nan")
        poisoned = separator(mix)
    close(poisoned[[0, 2]], together[[0, 2]])


def test_is_deterministic_and_does_not_touch_the_generator(separator):
    mix = mix_of(separator, 600, batch=(2,))
    before = torch.get_rng_state()
    with torch.no_grad():
        first, second = separator(mix), separator(mix)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_stream_equals_whole(separator):
    plan = separator.plan
    samples = 2 * plan.length + plan.length // 3 + 1
    mix = mix_of(separator, samples)
    whole = separator.separate(mix)
    assert whole.shape == (len(separator.stems), separator.channels, samples)
    heard = separator.hear(lambda: mix.split(33, dim=-1))
    stream, parts, begin = separator.stream(heard=heard), [], 0
    for size in [1, 10, plan.length // 2, 3, 2 * plan.length, samples]:
        parts.append(stream.push(mix[:, begin : begin + size]))
        begin += size
    parts.append(stream.finish())
    assert torch.equal(torch.cat(parts, dim=-1), whole)
    close(separator.separate(mix, batch_size=3), whole)


def test_overlap_can_be_chosen(separator):
    mix = mix_of(separator, 2 * separator.plan.length)
    for overlap in (0.0, 0.6):
        stems = separator.separate(mix, overlap=overlap)
        assert stems.shape[-1] == mix.shape[-1]
        assert stems.isfinite().all()


def test_chunks_start_on_the_grid_whatever_the_overlap(separator):
    plan = separator.plan
    assert plan.hop % plan.grid == 0
    frame = getattr(separator, "hop_length", 1) or 1
    assert plan.grid % frame == 0
    for overlap in (0.0, 0.1, 0.3, 0.3333, 0.77):
        hop = plan.with_overlap(overlap).hop
        assert hop % plan.grid == 0
        assert hop <= max((1 - overlap) * plan.length + 1, plan.grid)


def test_gradients_are_finite_and_reach_every_weight(separator):
    parameters = dict(separator.train().named_parameters())
    for scale in (0.1, 0.0):
        mix = scale * torch.randn(2, separator.channels, separator.plan.input_length)
        mix.requires_grad_()
        separator(mix).square().sum().backward()
        assert mix.grad.isfinite().all()
        for name, parameter in parameters.items():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
    for name, parameter in parameters.items():
        assert parameter.grad is not None, f"{name} has no influence"


def test_state_survives_a_round_trip(separator, request):
    cls = type(separator)
    with torch.no_grad():
        for parameter in separator.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    other = TINY[cls]().eval()
    other.load_state_dict(separator.state_dict(), strict=True)
    mix = mix_of(separator, 600, batch=(1,))
    with torch.no_grad():
        assert torch.equal(separator(mix), other(mix))


def test_the_page_shows_enough_context():
    separator = SOFT_SPLIT(sample_rate=1000, channels=1)
    mix = torch.randn(1, 25_000, dtype=torch.float64)
    whole = separator(mix[None])[0]
    torch.testing.assert_close(separator.separate(mix), whole, rtol=0, atol=1e-9)
    # White noise has half of its energy in the lower half of the band.
    assert 0.45 < whole[0].square().mean() / mix.square().mean() < 0.55


def test_wrong_layouts_are_refused_with_a_remedy(separator):
    channels = separator.channels
    with pytest.raises(ShapeError, match=r"mix has shape .*expected \(\.\.\., channels, samples\)"):
        separator.separate(torch.zeros(500))
    with pytest.raises(ShapeError, match=f"{channels + 1} channels, expected {channels}"):
        separator.separate(torch.zeros(channels + 1, 500))
    with pytest.raises(ShapeError, match=f"{channels + 1} channels, expected {channels}"):
        separator(torch.zeros(2, channels + 1, 500))
    with pytest.raises(ShapeError, match=r"Then pass mix\.mT"):
        separator.separate(torch.zeros(500, channels))
    for shape in [(500,), (channels, 500), (1, 1, channels, 500)]:
        with pytest.raises(ShapeError, match=r"mix has shape .*\(batch, channels, samples\)"):
            separator(torch.zeros(shape))
    with pytest.raises(ShapeError, match="mix has dtype"):
        separator.separate(torch.zeros(channels, 500, dtype=torch.int64))
