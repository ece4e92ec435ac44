"""Published separators against their originals: the same weights, the same song.

The originals are found as ``tests/separators/originals.py`` says: installed, or in the folder that
``SONOGRAD_ORIGINALS`` names. Each program runs in a process of its own, which loads the weights,
separates a song in memory, and reports the time that this took, its peak of memory, and a few of
the samples it gave. ``busy`` means that another program keeps one core busy: one that does so
already, or a loop that is started for it. Times on several cores are taken when nothing else is in
the way, and tried again where something came.

Memory, and whether other programs are in the way, are read as Linux tells them.

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
from benchmarks._separators import (
    CASES,
    ROFORMER,
    SHALLOW,
    SMALL_RATE,
    Case,
    build_ours,
    build_theirs,
    load_original,
    separate,
)

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


@dataclass(frozen=True)
class Run:
    """One process: what it runs, and on what."""

    family: str
    program: str
    precision: str = "32"
    minutes: int = 0
    where: str = QUIET
    size: str = "full"

    @property
    def name(self) -> str:
        parts = [self.family, self.program, self.precision]
        parts += [f"{self.minutes} min"] if self.minutes else []
        parts += [self.where] if self.where != QUIET else []
        return " ".join([*parts, *[self.size] * (self.size != "full")])

    def start(self) -> list:
        """Return time in seconds, memory before and at most in megabytes, the deviation, and how
        many cores programs that are not ours kept busy meanwhile."""
        seconds = 60 * self.minutes or CASES[self.family].seconds
        reference = FOLDER / f"{self.family}.pt" if not self.minutes else ""
        code = (
            "import sys; from benchmarks._separators import child; "
            "child(*sys.argv[1:4], int(sys.argv[4]), *sys.argv[5:7], int(sys.argv[7]))"
        )
        workers = 2 if self.minutes else 1 if self.where == ALONE else 0
        given = [self.family, self.program, self.precision, str(seconds), str(reference),
                 self.size, str(workers)]  # fmt: skip
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
        for family, case in CASES.items()
        for program in ("theirs", "ours")
        if case.module or (where != BUSY and program == "ours")
    ]
    speed += [(Run(family, "ours", "bf16", where=ALONE), 1) for family in CASES]
    memory = [
        (run, 1)
        for family, case in CASES.items()
        for run in memory_runs(family)
        if case.module or run.program == "ours"
    ]
    return sorted(speed + memory, key=lambda item: item[0].where != ALONE and not item[0].minutes)


def memory_runs(family: str) -> list[Run]:
    """What is compared at three minutes, and how it is with small networks and longer songs."""
    size = "shallow" if family in SHALLOW else "full"
    whole = [Run(family, program, minutes=3, size=size) for program in ("theirs", "ours")]
    return whole + [Run(family, "ours", minutes=minutes, size="small") for minutes in (3, 10, 60)]


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

    _, filtering = load_original("openunmix.filtering")
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

    theirs, _ = build_theirs("bs_roformer")
    layers = list(build_ours("bs_roformer", theirs).modules())
    split = next(layer for layer in layers if isinstance(layer, BandSplit))
    masks = next(layer for layer in layers if isinstance(layer, BandMasks))
    width, rows = ROFORMER["dim"], []
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
    for where in (ALONE, QUIET, BUSY):
        theirs = _best(kept, Run(family, "theirs", where=where))
        ours = _best(kept, Run(family, "ours", where=where))
        begin = f"| {case.label}, {case.seconds} s | {where} "
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


def precision_rows(kept: Kept, family: str) -> list[str]:
    """Compare bf16 with float32, of the same program and of the original."""
    theirs, ours, lower = (
        _best(kept, Run(family, program, precision, where=ALONE))
        for program, precision in (("theirs", "32"), ("ours", "32"), ("ours", "bf16"))
    )
    if isinstance(ours, str) or isinstance(lower, str):
        return []
    times = [f"{x[0]:.1f} s" if isinstance(x, list) else "" for x in (theirs, ours, lower)]
    ratios = [f"{x[0] / lower[0]:.2f}x" if isinstance(x, list) else "" for x in (theirs, ours)]
    gap = "" if family == "conv_tasnet" or lower[3] is None else f"{lower[3]:.0e}"
    case = CASES[family]
    return [f"| {case.label}, {case.seconds} s | {' | '.join([*times, *ratios])} | {gap} |"]


def score_rows() -> list[str]:
    """Compare the scores of trained models on a song that is made."""
    import torch

    import sonograd
    from sonograd.data.songs import make_song
    from sonograd.functional import snr

    song = make_song(24, seconds=30.0)
    true, mix, rows = dict(zip(song.names, song.stems, strict=True)), song.mixture, []
    for name in ("default", "SpectrogramNetLSTM", "SpectrogramNetSimple"):
        separator = sonograd.load(name)
        case = Case(name, "", "", {}, "", {}, 30)
        found = []
        for precision in ("32", "bf16"):
            with torch.no_grad():
                _, stems = separate(
                    case, separator, precision, mix.shape[-1], 1, keep=True, mix=mix
                )
            found.append(
                [
                    float(snr(stem.double().flatten(), true[target].double().flatten()))
                    for target, stem in zip(separator.stems, stems, strict=True)
                ]
            )
        change = max(abs(b - a) for a, b in zip(*found, strict=True))
        mean, lower = (sum(row) / len(row) for row in found)
        rows.append(f"| {name} | {mean:.3f} dB | {lower:.3f} dB | {change:.4f} dB |")
    return rows


def memory_rows(kept: Kept, family: str) -> list[str]:
    cells = []
    for run in memory_runs(family):
        found = _best(kept, run)
        cells.append(found if isinstance(found, str) else f"{found[2] - found[1]:.0f} MB")
    if not CASES[family].module:
        cells[0] = ""
    if NOT_MEASURED in cells[1:] and len(set(cells[1:])) == 1:
        return []
    return [f"| {CASES[family].label.split(',')[0]} | {' | '.join(cells)} |"]


def table(kept: Kept) -> str:
    return "\n".join(
        [
            "## Published separators against their originals",
            "",
            "Noise, random weights, float32; whole programs without reading or writing files. On "
            "one thread the seconds are those of the processor. On two cores they are those of the "
            "clock: ours in chunk workers with one thread each, theirs with the threads that torch "
            "takes, alone on the machine or beside another program that keeps one core busy; the "
            f"least of up to {REPEATS}, each in a process of its own. SCNet is published as a "
            "repository only, so that there is no program to run it against; `tests/golden` holds "
            "its values.",
            "",
            "| model | machine | original | sonograd | ratio | deviation |",
            "|---|---|---|---|---|---|",
            *[row for family in CASES for row in speed_rows(kept, family)],
            "",
            "ConvTasNet normalizes over all it sees, which is the file there and a chunk here.",
            "",
            "With `--precision bf16`, on one thread. Whether it is faster depends on the "
            f"processor: here, a product of matrices takes {_bf16_ratio():.2f} times as long in "
            "bf16 as in float32, which `sonograd separate` says, too. With units for it, products "
            "take half as long or less.",
            "",
            "| model | original, float32 | sonograd, float32 | sonograd, bf16 | bf16 against the "
            "original | bf16 against float32 | deviation |",
            "|---|---|---|---|---|---|---|",
            *[row for family in CASES for row in precision_rows(kept, family)],
            "",
            "What bf16 changes with trained weights, mean SDR over the stems of a song of 30 s "
            "that is made (`make_song`, seed 24):",
            "",
            "| model | float32 | bf16 | largest change of a stem |",
            "|---|---|---|---|",
            *score_rows(),
            "",
            "Peak memory beyond that of the loaded weights. Two chunks are in work at a time here, "
            "one in the original; `--workers 1` takes less. RoFormers have one block instead of "
            "four, which takes as much memory. "
            "That it does not grow with the song is "
            f"seen with small networks and {SMALL_RATE} samples per second, which take a minute or "
            "two for an hour; it varies with which steps of the two chunks coincide, more often in "
            "longer songs:",
            "",
            "| family | original, 3 min | sonograd, 3 min | small: 3 min | 10 min | 60 min |",
            "|---|---|---|---|---|---|",
            *[row for family in CASES for row in memory_rows(kept, family)],
            "",
            "Parts, on one thread. Masks are large products, which the original runs near the "
            "speed of the processor, too:",
            "",
            "| work | original | sonograd | ratio | deviation |",
            "|---|---|---|---|---|",
            *part_rows(),
        ]
    )


def _bf16_ratio() -> float:
    import torch

    from sonograd.precision import product_seconds

    return product_seconds(torch.bfloat16) / product_seconds(torch.float32)


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
