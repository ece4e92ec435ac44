"""Published separators against their originals: the same weights, the same song.

The originals are found as ``tests/separators/originals.py`` says: installed, or in the folder that
``SONOGRAD_ORIGINALS`` names. Each program runs in a process of its own, which loads the weights,
separates a song in memory, and reports the time that this took, its peak of memory, and a few of
the samples it gave. ``busy`` means that another program keeps one core busy: one that does so
already, or a loop that is started for it. Times on several cores are taken when nothing else is in
the way, and tried again where something came.

Every run is kept in a file, and none takes more than five minutes, so that ``python -m benchmarks
separators`` goes on where it was stopped. ``python -m benchmarks.separators --rows htdemucs
--minutes 4`` runs a part of it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks._kept import Kept, digest

STEMS = ["drums", "bass", "other", "vocals"]
UMX_TARGETS = ("vocals", "drums", "bass", "other")
SOURCES = Path(__file__).parents[1] / "src" / "sonograd"
#: What a row was measured on: processor time of one thread, two idle cores, or one of them taken.
ALONE, QUIET, BUSY = "one thread", "two cores", "two cores, one busy"
#: Runs that are tried again because other programs were in the way.
MOST_MORE = 2
NOT_MEASURED = "not measured"
#: Cores that other programs may keep busy meanwhile.
MOST_FOREIGN = 0.15
#: Cores that a program keeps busy, at least, that is taken for the one beside which to measure.
LEAST_BUSY = 0.7
REPEATS = int(os.environ.get("BENCHMARK_REPEATS", "2"))
#: Samples that are compared, at both ends and in between.
KEPT_SAMPLES = 20_000


@dataclass(frozen=True)
class Case:
    """A network of a family.

    Attributes:
        label: What it is called in the table.
        module: Where the original is.
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
_ROFORMER = {
    "dim": 128, "depth": 4, "time_transformer_depth": 1, "freq_transformer_depth": 1,
    "stereo": True, "stft_hop_length": 441, "mask_estimator_depth": 2,
}  # fmt: skip
_UMX = {"nb_bins": 2049, "hidden_size": 512, "max_bin": 1487}
_CHUNKED = {"zero_dc": False, "sources": ["vocals"], "chunk_size": 4 * 44_100, "num_overlap": 2}
CASES = {
    "umxhq": Case("umxhq", "openunmix.model", "OpenUnmix", _UMX, "open_unmix", {}, 30),
    "htdemucs": Case("htdemucs", "demucs.htdemucs", "HTDemucs", _HT, "htdemucs", {}, 23),
    "hdemucs_mmi": Case(
        "hdemucs_mmi", "demucs.hdemucs", "HDemucs", {"sources": STEMS, "segment": 44},
        "hybrid_demucs", {}, 60,
    ),
    "demucs": Case(
        "Demucs v3, waveform", "demucs.demucs", "Demucs", {"sources": STEMS, "segment": 10},
        "demucs", {}, 20,
    ),
    "conv_tasnet": Case(
        "ConvTasNet, 8 kHz mono", "asteroid.models", "ConvTasNet", {"n_src": 2}, "conv_tasnet",
        {}, 60, 8000, 1,
    ),
    "bs_roformer": Case(
        "BandSplitRoFormer, 4 blocks of width 128", "bs_roformer", "BSRoformer", _ROFORMER,
        "band_split_roformer", _CHUNKED, 10,
    ),
    "mel_band_roformer": Case(
        "MelBandRoFormer, 4 blocks of width 128", "bs_roformer", "MelBandRoformer",
        {**_ROFORMER, "num_bands": 60, "sample_rate": 44_100, "linear_transformer_depth": 0},
        "mel_band_roformer", _CHUNKED, 10,
    ),
}  # fmt: skip
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
    "bs_roformer": {**_ROFORMER, "dim": 8, "depth": 1, "heads": 1, "dim_head": 8},
    "mel_band_roformer": {**_ROFORMER, "dim": 8, "depth": 1, "heads": 1, "dim_head": 8,
                          "num_bands": 60, "sample_rate": 44_100, "linear_transformer_depth": 0},
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


def _original(name):
    originals = _tests("originals")
    try:
        return originals, originals.original(name)
    except BaseException as error:  # a skip of pytest
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


def _theirs(family, small=False):
    """Return the original network, and its whole program as a function of the mix."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    case = CASES[family]
    kwargs = SMALL[family] if small else case.kwargs
    originals, module = _original(case.module)
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
    _, apply = _original("demucs.apply")

    def separate(mix):
        mono = mix.mean(0)
        level = mono.std() + 1e-8
        stems = apply.apply_model(network, ((mix - mono.mean()) / level)[None], shifts=0)
        return stems[0] * level + mono.mean()

    return network, separate


def _ours(family, theirs, small=False):
    import importlib

    from sonograd.separators import build_separator

    case = CASES[family]
    module = importlib.import_module(f"sonograd.separators.{case.ours}")
    kwargs = {**(SMALL[family] if small else case.kwargs), **case.extra}
    if family == "umxhq":
        kwargs |= {"targets": UMX_TARGETS, **(_SMALL_FFT if small else {})}
    config = module.config_from_published(kwargs)
    separator = build_separator(config)
    separator.load_state_dict(module.convert_state(theirs.state_dict(), config))
    return separator.eval()


def _places(samples):
    step = max(samples // KEPT_SAMPLES, 1)
    return slice(0, samples, step)


def child(family, program, precision, seconds, reference, small, workers):
    """Run one program once and print its time, its memory and how far it is from ``reference``."""
    import resource

    import torch

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    case = CASES[family]
    samples = seconds * (SMALL_RATE if small else case.rate)
    places = _places(samples)
    with torch.no_grad():
        network, separate = _theirs(family, small)
        before = peak()
        if program == "theirs":
            mix = torch.cat(list(_blocks(case, samples)), -1)
            begin = _now()
            stems = separate(mix)
            elapsed = _now() - begin
            found = stems[..., places].clone()
        else:
            separator = _ours(family, network, small)
            del network, separate
            elapsed, found = _separate(
                case, separator, precision, samples, workers or None, keep=bool(reference)
            )
        most = peak()
    deviation = None
    if reference and program == "theirs":
        torch.save(found, reference)
    elif reference and Path(reference).exists():
        wanted = torch.load(reference, weights_only=True)
        found = found[..., places]
        deviation = float((found - wanted).norm() / wanted.norm())
    print(json.dumps([elapsed, before, most, deviation]))


def _now() -> float:
    """Return seconds: of the processor where there is one thread, and on the clock otherwise."""
    return time.process_time() if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter()


def _separate(case, separator, precision, samples, workers, *, keep):
    """Separate block by block, as ``sonograd separate`` does; forget what is not asked for."""
    import torch

    from sonograd.jobs.pipeline import separate_blocks
    from sonograd.jobs.workers import ChunkRunner

    begin = _now()
    stems, rate = [], separator.sample_rate
    with ChunkRunner(torch.device("cpu"), workers=workers, precision=precision) as runner:
        for _, part in separate_blocks(
            runner, separator, lambda: _blocks(case, samples), plan=separator.plan,
            channels=case.channels, sample_rate=rate, output_rate=rate,
        ):  # fmt: skip
            if keep:
                stems.append(part)
    elapsed = _now() - begin
    return elapsed, torch.cat(stems, -1) if stems else None


@dataclass(frozen=True)
class Run:
    """One process: what it runs, and on what."""

    family: str
    program: str
    precision: str = "32"
    minutes: int = 0
    where: str = QUIET
    small: bool = False

    @property
    def name(self) -> str:
        parts = [self.family, self.program, self.precision]
        parts += [f"{self.minutes} min"] if self.minutes else []
        return " ".join([*parts, *[self.where] * (self.where != QUIET), *["small"] * self.small])

    def start(self) -> list:
        """Return time in seconds, memory before and at most in megabytes, the deviation, and how
        many cores programs that are not ours kept busy meanwhile."""
        seconds = 60 * self.minutes or CASES[self.family].seconds
        reference = FOLDER / f"{self.family}.pt" if not self.minutes else ""
        code = (
            "import sys; from benchmarks.separators import child; "
            "child(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5], sys.argv[6] == 'small', "
            "int(sys.argv[7]))"
        )
        workers = 2 if self.minutes else 1 if self.where == ALONE else 0
        given = [self.family, self.program, self.precision, str(seconds), str(reference),
                 "small" if self.small else "full", str(workers)]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        if self.where == ALONE or (self.minutes and self.program == "theirs"):
            environment["OMP_NUM_THREADS"] = "1"  # which takes no more memory
        other = None
        begin = time.perf_counter(), _processor_seconds()
        if self.where == BUSY and _foreign_cores() < LEAST_BUSY:
            other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            done = subprocess.run(
                [sys.executable, "-c", code, *given], capture_output=True, text=True, check=False,
                cwd=Path(__file__).parents[1], env=environment,
            )  # fmt: skip
        finally:
            if other is not None:
                other.kill()
                other.wait()
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or "it was killed").splitlines()[-1])
        foreign = (_processor_seconds() - begin[1]) / (time.perf_counter() - begin[0])
        return [*json.loads(done.stdout.splitlines()[-1]), foreign + (other is not None)]

    def counts(self, result: list | str) -> bool:
        """Tell whether a time was measured without other programs in the way."""
        return isinstance(result, str) or self.fits(result[4])

    def fits(self, foreign: float) -> bool:
        """Tell whether it can be measured while other programs keep so many cores busy."""
        if self.where == ALONE or self.minutes:
            return True
        if self.where == BUSY:
            return LEAST_BUSY < foreign < 1 + MOST_FOREIGN
        return foreign < MOST_FOREIGN


def _processor_seconds() -> float:
    """Return what all cores did so far, but for our own processes that have ended."""
    import resource

    try:
        ticks = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    working = sum(ticks) - ticks[3] - ticks[4]
    return working / os.sysconf("SC_CLK_TCK") - used.ru_utime - used.ru_stime


def _foreign_cores(seconds: float = 0.5) -> float:
    """Return how many cores other programs keep busy now."""
    begin = time.perf_counter(), _processor_seconds()
    time.sleep(seconds)
    return (_processor_seconds() - begin[1]) / (time.perf_counter() - begin[0])


def runs() -> list[tuple[Run, int]]:
    """All processes, and how often each runs; programs that are compared come one after another."""
    speed = [
        (Run(family, program, where=where), 1 if where == ALONE else REPEATS)
        for where in (ALONE, QUIET, BUSY)
        for family in CASES
        for program in ("theirs", "ours")
    ]
    speed += [(Run(family, "ours", "bf16", where=ALONE), 1) for family in CASES]
    memory = [(run, 1) for family in CASES for run in memory_runs(family)]
    return sorted(speed + memory, key=lambda item: item[0].where != ALONE and not item[0].minutes)


def memory_runs(family: str) -> list[Run]:
    """What is compared at three minutes, and how it is with small networks and longer songs."""
    small = "roformer" in family  # three minutes would take half an hour
    whole = [Run(family, program, minutes=3, small=small) for program in ("theirs", "ours")]
    return whole + [Run(family, "ours", minutes=minutes, small=True) for minutes in (3, 10, 60)]


def version() -> str:
    files = sorted((SOURCES / "separators").glob("*.py"))
    files += [SOURCES / "jobs" / name for name in ("pipeline.py", "workers.py", "spool.py")]
    return digest([*files, SOURCES / "functional" / "wiener.py"])


FOLDER = Kept("separators", "references").path.parent


def collect(rows, minutes: float) -> Kept:
    """Run what has not been run before, as long as there is time."""
    kept = Kept("separators", version())
    begin = time.monotonic()
    todo = [(run, count) for run, count in runs() if run.family in rows]
    for repeat in range(max(count for _, count in todo)):
        for run, count in todo:
            tried = kept.of(run.name)
            good = sum(map(run.counts, tried))
            if good > repeat or repeat >= count or len(tried) >= count + MOST_MORE:
                continue
            if time.monotonic() - begin > 60 * minutes:
                return kept
            foreign = _foreign_cores()
            if not run.fits(foreign) and not (run.where == BUSY and foreign < MOST_FOREIGN):
                continue
            try:
                result = run.start()
            except RuntimeError as error:
                result = str(error)
            print(run.name, result, flush=True)
            kept.add(run.name, result)
    return kept


def part_rows() -> list[str]:
    """Compare parts of the programs, on one thread."""
    import torch

    torch.set_num_threads(1)
    rows = []
    for make in (_filter_parts, _band_parts):
        try:
            with torch.no_grad():
                rows += make()
        except ImportError as error:
            rows.append(f"| {error} | | | | |")
    return rows


def _filter_parts() -> list[str]:
    """The iterations of the Wiener filter."""
    import torch

    from sonograd.functional import expectation_maximization

    _, filtering = _original("openunmix.filtering")
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(300, 2049, 2, 2, 4, generator=generator)
    x = torch.randn(300, 2049, 2, 2, generator=generator)
    stems = torch.complex(y[:, :, :, 0], y[:, :, :, 1]).permute(3, 2, 1, 0).contiguous()
    mix = torch.complex(x[..., 0], x[..., 1]).permute(2, 1, 0).contiguous()
    row = _part_row(
        "Wiener EM, 300 frames, 4 stems",
        lambda: filtering.expectation_maximization(y.clone(), x, 1)[0].permute(4, 2, 1, 0, 3),
        lambda: torch.view_as_real(expectation_maximization(stems, mix, iterations=1)),
        repeats=3,
    )
    return [row]


def _band_parts() -> list[str]:
    """The layers of the RoFormers that have weights for each band."""
    import torch

    from sonograd.separators.bands import BandMasks, BandSplit

    theirs, _ = _theirs("bs_roformer")
    layers = list(_ours("bs_roformer", theirs).modules())
    split = next(layer for layer in layers if isinstance(layer, BandSplit))
    masks = next(layer for layer in layers if isinstance(layer, BandMasks))
    width, rows = _ROFORMER["dim"], []
    for frames in (100, 400):
        spectrum, features = torch.randn(1, frames, 1025, 4), torch.randn(1, frames, 62, width)
        flat, bands = spectrum.flatten(2), features[0].transpose(0, 1).contiguous()
        where = f"of BandSplitRoFormer, width {width}, {frames} frames"
        rows += [
            _part_row(
                f"Band split {where}", partial(theirs.band_split, flat), partial(split, spectrum)
            ),
            _part_row(
                f"Masks {where}", partial(theirs.mask_estimators[0], features),
                partial(masks, bands),
            ),
        ]  # fmt: skip
    return rows


def _part_row(label, theirs, ours, repeats=9) -> str:
    """Run two programs in turns, which return the same numbers in the same order."""
    times, found = [[], []], [None, None]
    for _ in range(repeats):
        for which, program in enumerate((theirs, ours)):
            begin = time.process_time()
            found[which] = program()
            times[which].append(time.process_time() - begin)
    wanted, result = (item.flatten() for item in found)
    gap = float((result - wanted).norm() / wanted.norm())
    slow, fast = (1e3 * min(some) for some in times)
    return f"| {label} | {slow:.1f} ms | {fast:.1f} ms | **{slow / fast:.2f}x** | {gap:.0e} |"


def _best(kept: Kept, run: Run) -> list | str:
    """Return the fastest of what was measured, or why there is nothing."""
    found = kept.of(run.name)
    good = [result for result in found if isinstance(result, list) and run.counts(result)]
    if good:
        return min(good)
    busy = any(isinstance(result, list) for result in found)
    return "the machine was not idle" if busy else found[0] if found else NOT_MEASURED


def speed_rows(kept: Kept, family: str) -> list[str]:
    case, rows = CASES[family], []
    for where, precision in ((ALONE, "32"), (ALONE, "bf16"), (QUIET, "32"), (BUSY, "32")):
        theirs = _best(kept, Run(family, "theirs", where=where))
        ours = _best(kept, Run(family, "ours", precision, where=where))
        begin = f"| {case.label}, {case.seconds} s | {where} | {precision} "
        if NOT_MEASURED in (theirs, ours):
            continue
        if isinstance(theirs, str) or isinstance(ours, str):
            reason = theirs if isinstance(theirs, str) else ours
            rows.append(f"{begin}| {reason} | | | |")
            continue
        gap = "" if family == "conv_tasnet" or ours[3] is None else f"{ours[3]:.0e}"
        rows.append(
            f"{begin}| {theirs[0]:.1f} s | {ours[0]:.1f} s | **{theirs[0] / ours[0]:.2f}x** | "
            f"{gap} |"
        )
    return rows


def memory_rows(kept: Kept, family: str) -> list[str]:
    cells = []
    for run in memory_runs(family):
        found = _best(kept, run)
        cells.append(found if isinstance(found, str) else f"{found[2] - found[1]:.0f} MB")
    if set(cells) == {NOT_MEASURED}:
        return []
    return [f"| {CASES[family].label.split(',')[0]} | {' | '.join(cells)} |"]


def table(kept: Kept) -> str:
    return "\n".join(
        [
            "## Published separators against their originals",
            "",
            "Noise, random weights; whole programs without reading or writing files. On one thread "
            "the seconds are those of the processor. On two cores they are those of the clock: "
            "ours in chunk workers with one thread each, theirs with the threads that torch takes, "
            "alone on the machine or beside another program that keeps one core busy; the least "
            f"of up to {REPEATS}, each in a process of its own. SCNet is published as a repository "
            "only, so that there is no program to run it against; `tests/golden` holds its values.",
            "",
            "| model | machine | precision | original | sonograd | ratio | deviation |",
            "|---|---|---|---|---|---|---|",
            *[row for family in CASES for row in speed_rows(kept, family)],
            "",
            "ConvTasNet normalizes over all it sees, which is the file there and a chunk here. "
            "Whether bf16 is faster depends on the processor: it needs units of its own for it.",
            "",
            "Peak memory beyond that of the loaded weights. Two chunks are in work at a time here, "
            "one in the original; `--workers 1` takes less. RoFormers are small at 3 minutes, too. "
            "That it does not grow with the song is "
            f"seen with small networks and {SMALL_RATE} samples per second, which take a minute or "
            "two for an hour; it varies with which steps of the two chunks coincide, more often in "
            "longer songs:",
            "",
            "| family | original, 3 min | sonograd, 3 min | small: 3 min | 10 min | 60 min |",
            "|---|---|---|---|---|---|",
            *[row for family in CASES for row in memory_rows(kept, family)],
            "",
            "Parts, on one thread:",
            "",
            "| work | original | sonograd | ratio | deviation |",
            "|---|---|---|---|---|",
            *part_rows(),
        ]
    )


def run() -> str:
    return table(collect(list(CASES), float("inf")))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.separators", description=__doc__)
    parser.add_argument("--rows", default=",".join(CASES))
    parser.add_argument("--minutes", type=float, default=float("inf"))
    given = parser.parse_args()
    print(table(collect(given.rows.split(","), given.minutes)))


if __name__ == "__main__":
    main()
