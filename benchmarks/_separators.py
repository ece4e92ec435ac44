"""Published separators and ours: what is built, and one run of a program in a process."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STEMS = ["drums", "bass", "other", "vocals"]
UMX_TARGETS = ("vocals", "drums", "bass", "other")
#: Samples that are compared, at both ends and in between.
KEPT_SAMPLES = 20_000


@dataclass(frozen=True)
class Case:
    """A network of a family.

    Attributes:
        label: What it is called in the table.
        module: Where the original is; empty if no package has it.
        cls: Its class.
        kwargs: Arguments of the original.
        ours: Module of ours.
        extra: Further arguments of ours.
        seconds: Length of the song.
        rate: Its sample rate in Hz.
        channels: Its channels.
    """

    label: str
    module: str
    cls: str
    kwargs: dict
    ours: str
    extra: dict
    seconds: int
    rate: int = 44_100
    channels: int = 2


_HT = {
    "sources": STEMS, "dconv_mode": 3, "bottom_channels": 512, "t_dropout": 0.02, "segment": 7.8,
}  # fmt: skip
ROFORMER = {
    "dim": 128, "depth": 4, "time_transformer_depth": 1, "freq_transformer_depth": 1,
    "stereo": True, "stft_hop_length": 441, "mask_estimator_depth": 2,
}  # fmt: skip
_UMX = {"nb_bins": 2049, "hidden_size": 512, "max_bin": 1487}
_CHUNKED = {"zero_dc": False, "sources": ["vocals"], "chunk_size": 4 * 44_100, "num_overlap": 2}
CASES = {
    "umxhq": Case("umxhq", "openunmix.model", "OpenUnmix", _UMX, "open_unmix", {}, 60),
    "htdemucs": Case("htdemucs", "demucs.htdemucs", "HTDemucs", _HT, "htdemucs", {}, 60),
    "hdemucs_mmi": Case(
        "hdemucs_mmi", "demucs.hdemucs", "HDemucs", {"sources": STEMS, "segment": 44},
        "hybrid_demucs", {}, 60,
    ),
    "demucs": Case(
        "Demucs v3, waveform", "demucs.demucs", "Demucs", {"sources": STEMS, "segment": 10},
        "demucs", {}, 60,
    ),
    "conv_tasnet": Case(
        "ConvTasNet, 8 kHz mono", "asteroid.models", "ConvTasNet", {"n_src": 2}, "conv_tasnet",
        {}, 60, 8000, 1,
    ),
    "bs_roformer": Case(
        "BandSplitRoFormer, 4 blocks of width 128", "bs_roformer", "BSRoformer", ROFORMER,
        "band_split_roformer", _CHUNKED, 10,
    ),
    "mel_band_roformer": Case(
        "MelBandRoFormer, 4 blocks of width 128", "bs_roformer", "MelBandRoformer",
        {**ROFORMER, "num_bands": 60, "sample_rate": 44_100, "linear_transformer_depth": 0},
        "mel_band_roformer", _CHUNKED, 10,
    ),
    "scnet": Case("SCNet, small", "", "", {}, "scnet", {}, 60),
}  # fmt: skip
#: Networks of one block take as much memory as deeper ones, and three minutes of them less than
#: half an hour.
SHALLOW = {name: {**CASES[name].kwargs, "depth": 1} for name in CASES if "roformer" in name}
#: The same families as small networks, for hours of music, and the sample rate of the song in Hz;
#: the networks are not told.
SMALL_RATE = 8000
_TINY = {"channels": 4, "sources": STEMS}
_SMALL_FFT = {"n_fft": 1024, "n_hop": 512}
SMALL = {
    "umxhq": {"nb_bins": 513, "hidden_size": 32, "max_bin": 400},
    "htdemucs": {**_HT, "channels": 8, "bottom_channels": 16, "t_layers": 1, "t_heads": 2},
    "hdemucs_mmi": {**_TINY, "segment": 10},
    "demucs": {**_TINY, "segment": 10, "resample": False},
    "conv_tasnet": {"n_src": 2, "n_repeats": 1, "n_blocks": 2, "bn_chan": 16, "hid_chan": 16,
                    "skip_chan": 16, "n_filters": 32},
    "bs_roformer": {**ROFORMER, "dim": 8, "depth": 1, "heads": 1, "dim_head": 8},
    "mel_band_roformer": {**ROFORMER, "dim": 8, "depth": 1, "heads": 1, "dim_head": 8,
                          "num_bands": 60, "sample_rate": 44_100, "linear_transformer_depth": 0},
    "scnet": {"dims": [4, 4, 8, 8], "num_dplayer": 2},
}  # fmt: skip


def _tests(name):
    """Load a file of the tests, which knows the originals."""
    import importlib.util

    path = Path(__file__).parents[1] / "tests" / "separators" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_original(name):
    import pytest

    originals = _tests("originals")
    try:
        return originals, originals.original(name)
    except (ImportError, pytest.skip.Exception) as error:
        raise ImportError(str(error)) from None


def _blocks(case, samples):
    """Yield noise, the same whatever its length."""
    import torch

    generator = torch.Generator().manual_seed(0)
    left = samples
    while left:
        size = min(left, 1 << 16)
        yield 0.1 * torch.randn(case.channels, size, generator=generator)
        left -= size


def _arguments(family, size):
    """Return what the original is built with."""
    sizes = {"full": CASES[family].kwargs, "small": SMALL[family], "shallow": SHALLOW.get(family)}
    return sizes[size]


def build_theirs(family, size="full"):
    """Return the original network, and its whole program as a function of the mix."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    case, kwargs, small = CASES[family], _arguments(family, size), size == "small"
    originals, module = load_original(case.module)
    if family == "umxhq":
        nets = {
            name: originals.randomize(module.OpenUnmix(**kwargs), seed)
            for seed, name in enumerate(UMX_TARGETS)
        }
        network = module.Separator(nets, niter=1, **(_SMALL_FFT if small else {})).eval()
        return network, lambda mix: network(mix[None])[0]
    network = originals.randomize(getattr(module, case.cls)(**kwargs))
    if family == "conv_tasnet":
        return network, lambda mix: network(mix[None])[0][:, None]
    if "roformer" in family:
        for name, tensor in network.state_dict().items():
            if "rotary" in name:
                steps = torch.arange(tensor.numel()) / tensor.numel()
                tensor.copy_((10_000.0**-steps).view_as(tensor))
        demix = _tests("test_chunking").msst_demix

        def overlapping(mix):
            return demix(lambda part: network(part[None])[0], mix, _CHUNKED["chunk_size"], 2)

        return network, lambda mix: overlapping(mix)[None]
    _, apply = load_original("demucs.apply")

    def separate(mix):
        mono = mix.mean(0)
        level = mono.std() + 1e-8
        stems = apply.apply_model(network, ((mix - mono.mean()) / level)[None], shifts=0)
        return stems[0] * level + mono.mean()

    return network, separate


def build_ours(family, theirs, size="full"):
    import importlib

    import torch

    from sonograd.separators import build_separator

    case, small = CASES[family], size == "small"
    module = importlib.import_module(f"sonograd.separators.{case.ours}")
    kwargs = {**_arguments(family, size), **case.extra}
    if family == "umxhq":
        kwargs |= {"targets": UMX_TARGETS, **(_SMALL_FFT if small else {})}
    config = module.config_from_published(kwargs)
    torch.manual_seed(0)
    separator = build_separator(config)
    if theirs is None:
        return separator.eval()
    separator.load_state_dict(module.convert_state(theirs.state_dict(), config))
    return separator.eval()


def _places(samples):
    step = max(samples // KEPT_SAMPLES, 1)
    return slice(0, samples, step)


def child(family, program, precision, seconds, reference, size, workers):
    """Run one program once and print its time, its memory and how far it is from ``reference``."""
    import resource

    import torch

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    case = CASES[family]
    samples = seconds * (SMALL_RATE if size == "small" else case.rate)
    places = _places(samples)
    with torch.no_grad():
        network, whole = build_theirs(family, size) if case.module else (None, None)
        before = peak()
        if program == "theirs":
            mix = torch.cat(list(_blocks(case, samples)), -1)
            begin = _now()
            stems = whole(mix)
            elapsed = _now() - begin
            found = stems[..., places].clone()
        else:
            separator = build_ours(family, network, size)
            del network, whole
            before = before if case.module else peak()
            elapsed, found = separate(
                case, separator, precision, samples, workers or None, keep=bool(reference)
            )
        most = peak()
    deviation = None
    if reference and (program == "theirs" or (not case.module and precision == "32")):
        torch.save(found if program == "theirs" else found[..., places].clone(), reference)
    elif reference and Path(reference).exists():
        wanted = torch.load(reference, weights_only=True)
        found = found[..., places]
        deviation = float((found - wanted).norm() / wanted.norm())
    print(json.dumps([elapsed, before, most, deviation]))


def _now() -> float:
    """Return seconds: of the processor where there is one thread, and on the clock otherwise."""
    return time.process_time() if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter()


def separate(case, separator, precision, samples, workers, *, keep, mix=None):
    """Separate noise, or a mix, block by block as ``sonograd separate`` does."""
    import torch

    from sonograd.jobs.pipeline import separate_blocks
    from sonograd.jobs.workers import ChunkRunner

    def blocks():
        return _blocks(case, samples) if mix is None else iter(mix.split(1 << 16, dim=-1))

    begin = _now()
    stems, rate = [], separator.sample_rate
    with ChunkRunner(torch.device("cpu"), workers=workers, precision=precision) as runner:
        for _, part in separate_blocks(
            runner, separator, blocks, plan=separator.plan,
            channels=case.channels, sample_rate=rate, output_rate=rate,
        ):  # fmt: skip
            if keep:
                stems.append(part)
    elapsed = _now() - begin
    return elapsed, torch.cat(stems, -1) if stems else None
