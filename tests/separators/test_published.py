"""Published networks: the same weights give the same stems, from stored tensors or side by side."""

import dataclasses
import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sonograd.errors import ConfigError
from sonograd.separators import TimeShifts, build_separator, htdemucs, hybrid_demucs, open_unmix

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "separators"


def _load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


cases, originals = _load("published_cases"), _load("originals")
CASES = cases.CASES
BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-10}


def ours(case, state):
    config = case.config()
    separator = build_separator(config)
    separator.load_state_dict(case.family.convert_state(state, config), strict=True)
    return separator.eval()


def deviation(actual, expected):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    return float((actual - expected).norm() / expected.norm())


def stored(name):
    """Return the weights, the mix and the outputs of a file, and what it says about itself."""
    with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        kwargs = json.loads(file.metadata()["kwargs"])
    state = {
        key.removeprefix("state."): x for key, x in tensors.items() if key.startswith("state.")
    }
    outputs = {
        int(key.removeprefix("output_")): x
        for key, x in tensors.items()
        if key.startswith("output_")
    }
    assert outputs
    return kwargs, state, tensors["input"], outputs


def check_outputs(separator, mix, outputs, bound):
    dtype = next(separator.parameters()).dtype
    for samples, expected in outputs.items():
        with torch.no_grad():
            stems = separator(mix[..., :samples].to(dtype))
        least = 1e-7 if expected.dtype == torch.float32 else 0.0
        assert deviation(stems, expected.to(dtype)) < max(bound, least), samples


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_stored_tensors(name, dtype):
    """What the originals gave, in double precision, for weights that are all random."""
    kwargs, state, mix, outputs = stored(name)
    assert kwargs == CASES[name].kwargs
    check_outputs(ours(CASES[name], state).to(dtype), mix, outputs, BOUNDS[dtype])


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_stored_tensors_of_open_unmix(dtype):
    kwargs, state, mix, outputs = stored("open_unmix")
    assert kwargs == cases.UMX
    config = cases.umx_config(residual=True)
    separator = build_separator(config).eval()
    separator.load_state_dict(open_unmix.convert_state(state, config), strict=True)
    separator.to(dtype)
    check_outputs(separator, mix, outputs, 100 * BOUNDS[dtype])
    for samples, expected in outputs.items():
        song = separator.separate(mix[0, :, :samples].to(dtype))
        assert deviation(song, expected[0].to(dtype)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_networks_equal_the_originals(name):
    case = CASES[name]
    theirs = originals.randomize(case.build(originals.original(case.module)))
    mine = ours(case, theirs.state_dict())
    originals.with_exact_phases()
    for dtype, bound in BOUNDS.items():
        theirs.to(dtype)
        mine.to(dtype)
        for samples in case.lengths:
            for batch in (1, 2):
                mix = cases.mix_of(case.channels, samples, batch, dtype)
                with torch.no_grad():
                    expected = theirs(mix)
                    actual = mine(mix)
                if case.name == "ConvTasNet":
                    expected = expected[:, :, None]
                assert deviation(actual, expected) < bound, (dtype, samples, batch)


def demucs_pair(name):
    case = CASES[name]
    originals.original("demucs.apply")
    theirs = originals.randomize(case.build(originals.original(case.module)))
    return theirs, ours(case, theirs.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demucs_v3", "hdemucs", "htdemucs"])
@pytest.mark.parametrize(("samples", "overlap"), [(1000, 0.25), (13_001, 0.25), (9000, 0.6)])
def test_songs_equal_the_original_program(name, samples, overlap):
    theirs, mine = demucs_pair(name)
    apply = originals.original("demucs.apply")
    mix = cases.mix_of(2, samples, dtype=torch.float32)[0]
    mono = mix.mean(0)
    level = mono.std() + 1e-8
    expected = apply.apply_model(
        theirs, ((mix - mono.mean()) / level)[None], shifts=0, overlap=overlap
    )[0]
    expected = expected * level + mono.mean()
    actual = mine.separate(mix, overlap=overlap)
    assert deviation(actual, expected) < 1e-5
    heard = mine.hear(lambda: mix.split(777, dim=-1), plan=mine.plan.with_overlap(overlap))
    stream = mine.stream(overlap=overlap, heard=heard)
    parts = [stream.push(block) for block in mix.split(1234, dim=-1)]
    assert torch.equal(torch.cat([*parts, stream.finish()], dim=-1), actual)


@pytest.mark.slow
@pytest.mark.parametrize("niter", [0, 1, 2])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("softmask", "channels"), [(False, 2), (True, 2), (False, 1)])
def test_open_unmix_equals_the_original(niter, residual, softmask, channels):
    model = originals.original("openunmix.model")
    nets = {
        target: originals.randomize(model.OpenUnmix(**{**cases.UMX, "nb_channels": channels}), seed)
        for seed, target in enumerate(cases.UMX_TARGETS)
    }
    theirs = model.Separator(
        nets, niter=niter, residual=residual, softmask=softmask, n_fft=256, n_hop=64,
        nb_channels=channels, wiener_win_len=20,
    ).eval()  # fmt: skip
    config = cases.umx_config(niter=niter, residual=residual, softmask=softmask, channels=channels)
    mine = build_separator(config).eval()
    mine.load_state_dict(open_unmix.convert_state(theirs.state_dict(), config), strict=True)
    originals.with_exact_phases()
    for dtype, bound in BOUNDS.items():
        theirs.to(dtype)
        mine.to(dtype)
        for samples, batch in [(4096, 1), (4095, 2), (1009, 1), (1280, 1), (1279, 1), (130, 1)]:
            mix = cases.mix_of(channels, samples, batch, dtype)
            with torch.no_grad():
                expected = theirs(mix)
                actual = mine(mix)
            # The shares of the mix are ill-conditioned where stems are nearly alike.
            loose = 100 if niter else 1
            assert deviation(actual, expected) < loose * bound, (dtype, samples)
            song = torch.stack([mine.separate(item) for item in mix])
            assert deviation(song, expected) < loose * bound, (dtype, samples)


@pytest.mark.slow
@pytest.mark.parametrize("niter", [1, 2])
def test_open_unmix_of_the_usual_size_is_as_exact_as_others(niter):
    """With thousands of frames and bins, spatial models are well-conditioned."""
    model = originals.original("openunmix.model")
    kwargs = {"nb_bins": 2049, "hidden_size": 32, "max_bin": 1487}
    targets = ("vocals", "drums", "bass", "other")
    nets = {
        target: originals.randomize(model.OpenUnmix(**kwargs), seed)
        for seed, target in enumerate(targets)
    }
    theirs = model.Separator(nets, niter=niter).eval()
    config = open_unmix.config_from_published({**kwargs, "targets": targets, "niter": niter})
    mine = build_separator(config).eval()
    mine.load_state_dict(open_unmix.convert_state(theirs.state_dict(), config), strict=True)
    originals.with_exact_phases()
    for dtype, bound in BOUNDS.items():
        mix = cases.mix_of(2, 3 * 44_100, 1, dtype)
        with torch.no_grad():
            expected = theirs.to(dtype)(mix)
        assert deviation(mine.to(dtype).separate(mix[0]), expected[0]) < bound


def test_open_unmix_streams_to_the_bit_whatever_the_blocks():
    mine = build_separator(cases.umx_config()).eval()
    mix = cases.mix_of(2, 6001, dtype=torch.float32)[0]
    whole = mine.separate(mix)
    with torch.no_grad():
        torch.testing.assert_close(whole, mine(mix[None])[0], rtol=0, atol=1e-6)
    for size in (1, 100, 5000):
        heard = mine.hear(lambda size=size: mix.split(max(size, 37), dim=-1))
        stream = mine.stream(heard=heard)
        parts = [stream.push(block) for block in mix.split(max(size, 11), dim=-1)]
        assert torch.equal(torch.cat([*parts, stream.finish()], dim=-1), whole)


@pytest.mark.parametrize("shift", [0, 1, 250, 1111])
def test_open_unmix_hears_shifted_copies(shift):
    """A copy begins after silence, and its frames and windows lie elsewhere in the song."""
    mine = build_separator(cases.umx_config()).eval().double()
    mix = cases.mix_of(2, 6001, dtype=torch.float64)[0]
    expected = mine.separate(torch.nn.functional.pad(mix, (shift, 0)))[..., shift:]
    copy = TimeShifts(mine, [shift])
    torch.testing.assert_close(copy.separate(mix), expected, rtol=0, atol=1e-12)
    assert not shift or (expected - mine.separate(mix)).abs().max() > 1e-4


def test_one_target_alone_takes_the_phase_of_the_mix():
    config = dataclasses.replace(cases.umx_config(niter=2), targets=("vocals",))
    alone = build_separator(config).eval()
    plain = build_separator(dataclasses.replace(config, wiener_iterations=0)).eval()
    plain.load_state_dict(alone.state_dict())
    mix = cases.mix_of(2, 2000, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(alone(mix), plain(mix))
    assert torch.equal(alone.separate(mix[0]), plain.separate(mix[0]))


def test_one_direction_needs_no_other():
    config = cases.umx_config(unidirectional=True)
    mine = build_separator(config).eval()
    mix = cases.mix_of(2, 4000, dtype=torch.float64)[0]
    mine.double()
    with torch.no_grad():
        torch.testing.assert_close(mine.separate(mix), mine(mix[None])[0], rtol=0, atol=1e-12)


def test_old_files_have_more_tensors_and_other_numbers():
    config = cases.umx_config()
    state = {
        f"vocals.{name.removeprefix('nets.0.')}": tensor
        for name, tensor in build_separator(config).state_dict().items()
        if name.startswith("nets.0.")
    }
    state["vocals.stft.window"] = torch.ones(4)
    state["vocals.transform.0.window"] = torch.ones(4)
    assert set(open_unmix.convert_state(state, config)) == {
        name.replace("vocals.", "nets.0.") for name in state if "window" not in name
    }
    old = {"encoder.0.0.weight": 0, "encoder.0.2.weight": 1, "decoder.0.2.bias": 2}
    family = CASES["demucs_v2"].family
    assert family.convert_state(old, None) == {
        "encoder.0.0.weight": 0, "encoder.0.3.weight": 1, "decoder.0.3.bias": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("family", "kwargs", "message"),
    [
        (htdemucs, {"t_emb": "cape"}, "t_emb: 'cape' is not supported; expected 'sin'"),
        (hybrid_demucs, {"hybrid": False}, "hybrid: False is not supported; expected True"),
        (hybrid_demucs, {"chanels": 3}, "chanels: no such argument. Did you mean 'channels'"),
    ],
)
def test_what_has_no_counterpart_is_refused(family, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        family.config_from_published({"sources": ["a", "b"], **kwargs})


@pytest.mark.slow
def test_shifts_are_those_of_the_original():
    theirs, mine = demucs_pair("htdemucs")
    apply = originals.original("demucs.apply")
    mix = cases.mix_of(2, 9000, dtype=torch.float32)[0]
    mono = mix.mean(0)
    level = mono.std() + 1e-8
    random.seed(7)
    expected = apply.apply_model(theirs, ((mix - mono.mean()) / level)[None], shifts=1)[0]
    expected = expected * level + mono.mean()
    random.seed(7)
    shift = 22_050 - random.randint(0, 22_050)
    actual = TimeShifts(mine, [shift]).separate(mix)
    assert deviation(actual, expected) < 1e-5
