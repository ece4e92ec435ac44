"""How well settings are found again that pedalboard applied.

``python -m benchmarks matching`` runs 50 seeds per row and writes the table. It keeps every run in
a file and goes on where it was stopped. ``python -m benchmarks.matching --seeds 4 --rows gain,eq``
prints a smaller one. Environment: ``MATCH_SEEDS``, ``MATCH_WORKERS``.

Material comes from the song generator; every fifth seed takes the clip in ``../shared/audio``, or
the ``.stem.mp4`` that ``STEM_FILE`` names, if there is one.
"""

import argparse
import json
import math
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks._kept import Kept, digest

RATE = 44_100
SECONDS = 10.0
ROWS = (
    "gain",
    "gain_16",
    "compressor",
    "compressor_16",
    "compressor_noise",
    "eq",
    "eq_compressor",
    "freeverb",
    "limiter",
    "gate",
    "drive_eq",
    "delay",
    "chorus",
    "auto",
    "mp3",
    "aac",
    "long",
)


def clip() -> Path | None:
    named = os.environ.get("STEM_FILE")
    if named:
        return Path(named)
    found = sorted((Path(__file__).parents[1] / "../shared/audio").glob("*.stem.mp4"))
    return found[0] if found else None


@lru_cache(maxsize=64)
def material(seed: int, *, channels: int = 1, seconds: float = SECONDS) -> np.ndarray:
    """Mixes of generated songs, and now and then the clip; peak 0.5."""
    path = clip() if seed % 5 == 4 and seconds <= SECONDS else None
    if path is not None:
        from sonograd.data import AudioFile

        with AudioFile(path) as file:
            start = (seed * 7919) % max(1, file.samples - int(seconds * file.sample_rate))
            x = file.read(start, int(seconds * RATE))
    else:
        from sonograd.data.songs import make_song

        x = make_song(1000 + seed, seconds=seconds).stems.sum(0)[:, : int(seconds * RATE)]
    x = x.numpy()
    x = x.mean(0, keepdims=True) if channels == 1 else x
    x = (x / max(abs(x).max(), 1e-6) * 0.5).astype(np.float32)
    x.flags.writeable = False
    return x


# -- random settings ---------------------------------------------------------------------------


def log_uniform(rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_compressor(rng, x: np.ndarray) -> dict[str, float]:
    """Draw settings under which the compressor changes the sound, by -30 dB at least."""
    level = np.abs(x[np.abs(x) > 1e-4])
    low, high = 20 * np.log10(np.percentile(level, [60, 90]))
    while True:
        settings = {
            "threshold_db": float(rng.uniform(low, high)),
            "ratio": log_uniform(rng, 1.5, 10),
            "attack_ms": log_uniform(rng, 0.5, 40),
            "release_ms": log_uniform(rng, 40, 400),
        }
        change = render(board("compressor", settings), x) - x
        if np.square(change).mean() > 1e-3 * np.square(x).mean():
            return settings


SPANS = [(30, 450), (60, 2000), (200, 6000), (800, 10_000), (2000, 16_000), (1500, 16_000)]


def random_eq(rng) -> list[tuple[float, float, float]]:
    bands = []
    for k, (low, high) in enumerate(SPANS):
        q = log_uniform(rng, 0.4, 4) if 0 < k < 5 else log_uniform(rng, 0.5, 1)
        bands.append((log_uniform(rng, low, high), float(rng.uniform(-12, 12)), q))
    return bands


def board(kind: str, value):  # type: ignore[no-untyped-def]
    import pedalboard as pb

    if kind == "compressor":
        return [pb.Compressor(*value.values())]
    if kind == "gain":
        return [pb.Gain(value)]
    if kind == "eq":
        low, *bells, high = value
        return [
            pb.LowShelfFilter(*low),
            *(pb.PeakFilter(*b) for b in bells),
            pb.HighShelfFilter(*high),
        ]
    raise ValueError(kind)


def render(plugins, x: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    import pedalboard as pb

    return pb.Pedalboard(plugins)(x, RATE)


def eq_curve_error(values: dict, bands) -> float:  # type: ignore[no-untyped-def]
    """RMS difference of two curves in dB from 20 Hz to 20 kHz."""
    import torch

    from sonograd.effects import ParametricEQ
    from sonograd.functional.biquads import frequency_response

    hz = torch.logspace(math.log10(20), math.log10(20_000), 400, dtype=torch.float64)
    stage = ParametricEQ(RATE, bands=6)
    truth = {}
    for k, (f, g, q) in enumerate(bands, start=1):
        truth |= {f"band{k}_frequency_hz": f, f"band{k}_gain_db": g, f"band{k}_q": q}
    curves = []
    for given in (values, truth):
        sections = stage.sections(
            {k: torch.full((1,), v, dtype=torch.float64) for k, v in given.items()}
        ).reshape(-1, 6)
        curves.append(20 * torch.log10(frequency_response(sections, hz, sample_rate=RATE).abs()))
    return float((curves[0] - curves[1]).square().mean().sqrt())


def relative(found: float, truth: float) -> float:
    return abs(found / truth - 1)


# -- rows --------------------------------------------------------------------------------------


def solve(x, y, chain: str, **options):  # type: ignore[no-untyped-def]
    """Match two arrays or two files, and time it."""
    import torch

    from sonograd.matching import match

    if isinstance(x, np.ndarray):
        x, y = (torch.from_numpy(np.array(v, np.float32)) for v in (x, y))
        options["sample_rate"] = RATE
    cpu, wall = time.process_time(), time.perf_counter()
    result = match(x, y, chain, **options)
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return result, {**seconds, "null": min(result.score.null_db, 200.0)}


def to_16_bits(y: np.ndarray) -> np.ndarray:
    return (np.round(y * 32_767) / 32_767).astype(np.float32)


def shift(x: np.ndarray, delay: float) -> np.ndarray:
    size = 1 << (x.shape[-1] + 4096).bit_length()
    ramp = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size * delay)
    return np.fft.irfft(np.fft.rfft(x, size) * ramp, size)[..., : x.shape[-1]]


def row_gain(rng, seed: int, *, bits: bool = False) -> dict:
    x = material(seed)
    gain, sign = log_uniform(rng, 0.1, 1.5), float(rng.choice([-1, 1]))
    delay = float(rng.uniform(0, 2000)) if rng.random() < 0.7 else float(rng.integers(0, 2000))
    y = sign * gain * shift(x.astype(np.float64), delay)
    y = to_16_bits(y) if bits else y.astype(np.float32)
    result, found = solve(x, y, "gain")
    amplitude = 10 ** (result.values["gain"]["gain_db"] / 20)
    return {
        **found,
        "gain": relative(amplitude, gain),
        "delay": abs(result.delay_samples - delay),
        "polarity": float(result.polarity == sign),
    }


def row_compressor(rng, seed: int, *, kind: str = "clean") -> dict:
    x = material(seed)
    truth, makeup = random_compressor(rng, x), float(rng.uniform(0, 8))
    y = render([*board("compressor", truth), *board("gain", makeup)], x)
    peak = max(1.0, abs(y).max() / 0.99)
    y, makeup = y / peak, makeup - 20 * math.log10(peak)
    if kind == "16":
        y = to_16_bits(y)
    if kind == "noise":
        y = y + np.sqrt((y**2).mean()) * 1e-3 * rng.standard_normal(y.shape)
    result, found = solve(x, y.astype(np.float32), "compressor")
    return {**found, **compressor_errors(result, truth, makeup)}


def compressor_errors(result, truth, makeup=None) -> dict:  # type: ignore[no-untyped-def]
    values = result.values["compressor"]
    errors = {k: relative(values[k], truth[k]) for k in ("ratio", "attack_ms", "release_ms")}
    if makeup is not None:
        errors["threshold_db"] = relative(values["threshold_db"], truth["threshold_db"])
        errors["makeup_db"] = abs(values["makeup_db"] - makeup) / max(abs(makeup), 1.0)
    return errors


def row_eq(rng, seed: int) -> dict:
    x = material(seed)
    bands = random_eq(rng)
    result, found = solve(x, render(board("eq", bands), x), "eq6")
    return {**found, "curve": eq_curve_error(dict(result.values["parametric_eq"]), bands)}


def row_eq_compressor(rng, seed: int) -> dict:
    x = material(seed)
    bands = random_eq(rng)
    filtered = render(board("eq", bands), x)
    truth, makeup = random_compressor(rng, filtered), float(rng.uniform(0, 8))
    y = render([*board("compressor", truth), *board("gain", makeup)], filtered)
    result, found = solve(x, y, "eq6,compressor,gain")
    return {**found, **compressor_errors(result, truth)}


def row_freeverb(rng, seed: int) -> dict:
    import pedalboard as pb

    x = material(seed, channels=2)
    names = ("room_size", "damping", "wet", "dry", "width")
    spans = ((0.1, 0.95), (0.05, 0.9), (0.1, 0.8), (0.05, 0.6), (0, 1))
    truth = {n: float(rng.uniform(*s)) for n, s in zip(names, spans, strict=True)}
    y = render([pb.Reverb(*(truth[n] for n in ("room_size", "damping", "wet", "dry", "width")))], x)
    result, found = solve(x, y, "freeverb")
    return {**found, "worst": max(abs(result.values["freeverb"][n] - truth[n]) for n in names)}


def row_single(rng, seed: int, name: str) -> dict:
    import pedalboard as pb

    x = material(seed)
    level = 20 * np.log10(np.percentile(np.abs(x[np.abs(x) > 1e-4]), [30, 70, 97]))
    if name == "limiter":
        plugins = [pb.Limiter(float(rng.uniform(level[1], level[2])), log_uniform(rng, 30, 400))]
        chain = "limiter"
    elif name == "gate":
        given = (float(rng.uniform(level[0], level[1])), log_uniform(rng, 1.5, 10))
        plugins = [pb.NoiseGate(*given, log_uniform(rng, 0.5, 20), log_uniform(rng, 30, 300))]
        chain = "gate"
    elif name == "drive_eq":
        band = (log_uniform(rng, 200, 6000), float(rng.uniform(-9, 9)), log_uniform(rng, 0.5, 2))
        plugins = [pb.Distortion(float(rng.uniform(3, 30))), pb.PeakFilter(*band)]
        chain = "drive,eq1,gain"
    elif name == "delay":
        plugins = [
            pb.Delay(log_uniform(rng, 0.03, 0.8), float(rng.uniform(0, 0.7)), rng.uniform(0.1, 0.6))
        ]
        chain = "delay"
    else:
        rate, depth = log_uniform(rng, 0.3, 4), float(rng.uniform(0.05, 0.5))
        plugins = [pb.Chorus(rate, depth, float(rng.uniform(5, 12)), 0.0, rng.uniform(0.2, 0.7))]
        chain = "chorus"
    return solve(x, render(plugins, x), chain)[1]


TRUE_CHAINS = (
    ("eq",),
    ("compressor",),
    ("eq", "compressor"),
    ("compressor", "eq"),
    ("drive",),
    ("limiter",),
    ("freeverb",),
    ("delay",),
)


def row_auto(rng, seed: int) -> dict:
    import pedalboard as pb

    x = material(seed)
    names = TRUE_CHAINS[seed % len(TRUE_CHAINS)]
    y = x
    for name in names:
        if name == "eq":
            y = render(board("eq", random_eq(rng)), y)
        elif name == "compressor":
            y = render(board("compressor", random_compressor(rng, y)), y)
        elif name == "drive":
            y = render([pb.Distortion(float(rng.uniform(6, 24)))], y)
        elif name == "limiter":
            level = 20 * np.log10(np.percentile(np.abs(y[np.abs(y) > 1e-4]), [70, 97]))
            y = render([pb.Limiter(float(rng.uniform(*level)), log_uniform(rng, 30, 400))], y)
        elif name == "freeverb":
            y = render([pb.Reverb(float(rng.uniform(0.2, 0.9)), 0.4, 0.3, 0.5, 1.0)], y)
        else:
            y = render([pb.Delay(log_uniform(rng, 0.05, 0.6), float(rng.uniform(0, 0.6)), 0.35)], y)
    result, found = solve(x, y, "auto")
    types = {
        "parametric_eq": "eq",
        "two_stage_limiter": "limiter",
        "distortion": "drive",
    }
    guess = tuple(types.get(t, t) for t in result.chain if t != "gain")
    return {**found, "right": float(guess == names), "truth": names, "guess": guess}


def row_codec(rng, seed: int, codec: str) -> dict:
    import pedalboard as pb

    x = material(seed)
    truth, makeup = random_compressor(rng, x), 0.0
    y = render(board("compressor", truth), x)
    if codec == "mp3":  # without a file: what was lost must be heard
        result, found = solve(x, render([pb.MP3Compressor(2.0)], y), "compressor")
        return {**found, **compressor_errors(result, truth, makeup)}
    import torch

    from sonograd.data import write_audio

    with tempfile.TemporaryDirectory() as folder:
        dry, wet = Path(folder) / "dry.wav", Path(folder) / "wet.m4a"
        write_audio(dry, torch.from_numpy(x.copy()), RATE, bits="32f")
        write_audio(wet, torch.from_numpy(y), RATE)
        result, found = solve(dry, wet, "compressor")
    return {**found, **compressor_errors(result, truth, makeup)}


def row_long(rng, seed: int) -> dict:
    """Three minutes of stereo."""
    x = np.concatenate([material(seed * 6 + k, channels=2, seconds=30.0) for k in range(6)], axis=1)
    bands = random_eq(rng)
    filtered = render(board("eq", bands), x)
    truth = random_compressor(rng, filtered)
    y = render([*board("compressor", truth), *board("gain", 3.0)], filtered)
    result, found = solve(x, y, "eq6,compressor,gain")
    return {**found, **compressor_errors(result, truth)}


RUNS = {
    "gain": row_gain,
    "gain_16": lambda r, s: row_gain(r, s, bits=True),
    "compressor": row_compressor,
    "compressor_16": lambda r, s: row_compressor(r, s, kind="16"),
    "compressor_noise": lambda r, s: row_compressor(r, s, kind="noise"),
    "eq": row_eq,
    "eq_compressor": row_eq_compressor,
    "freeverb": row_freeverb,
    **{
        name: (lambda r, s, n=name: row_single(r, s, n))
        for name in ("limiter", "gate", "drive_eq", "delay", "chorus")
    },
    "auto": row_auto,
    "mp3": lambda r, s: row_codec(r, s, "mp3"),
    "aac": lambda r, s: row_codec(r, s, "aac"),
    "long": row_long,
}


def one(row: str, seed: int) -> dict:
    """Run one seed of one row, in whatever process."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng([ROWS.index(row), seed])
    try:
        found = RUNS[row](rng, seed)
    except Exception as error:  # a run that fails is a result, too
        found = {"error": f"{type(error).__name__}: {error}"}
    return {"row": row, "seed": seed, **found}


def version() -> str:
    """A name for the state of the code: runs of other states are not mixed in."""
    import sonograd.matching

    folder = Path(sonograd.matching.__file__).parent
    return digest([*sorted(folder.glob("*.py")), Path(__file__)])


def collect(rows, seeds: int, workers: int) -> list[dict]:  # type: ignore[no-untyped-def]
    """Run what has not been run before."""
    kept = Kept("matching", version())
    done = [found for row in rows for found in kept.of(row)]
    have = {(d["row"], d["seed"]) for d in done}
    counts = {row: min(seeds, 5) if row == "long" else seeds for row in rows}
    todo = [(r, s) for r in rows for s in range(counts[r]) if (r, s) not in have]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for future in as_completed([pool.submit(one, *job) for job in todo]):
            found = future.result()
            kept.add(found["row"], found)
            done.append(found)
            print(json.dumps(found), flush=True)
    return [d for d in done if d["row"] in counts and d["seed"] < counts[d["row"]]]


# -- the table ---------------------------------------------------------------------------------

TITLES = {
    "gain": "gain, polarity, delay",
    "gain_16": "the same, 16 bits",
    "compressor": "compressor + makeup",
    "compressor_16": "the same, 16 bits",
    "compressor_noise": "the same, noise at -60 dB",
    "eq": "six-band EQ, ±12 dB",
    "eq_compressor": "EQ6 → compressor → gain",
    "freeverb": "freeverb, stereo",
    "limiter": "limiter °",
    "gate": "gate °",
    "drive_eq": "drive → EQ °",
    "delay": "delay °",
    "chorus": "chorus °",
    "auto": "order and members (`auto`) °",
    "mp3": "compressor, wet as MP3 (V2)",
    "aac": "compressor, wet as AAC",
    "long": "EQ6 → compressor → gain, 3 min stereo",
}
GOALS = {
    "gain": "gain 1e-6, delay 1e-3, always",
    "gain_16": "gain 1e-5, delay 1e-3, always",
    "compressor": "all within 1 % in 100 %",
    "compressor_16": "all within 1 % in 100 %",
    "compressor_noise": "all within 1 % in 100 %",
    "eq": "median ≤ 0.05 dB, worst ≤ 0.5",
    "eq_compressor": "≥ 45 dB median, ≥ 40 dB in 80 %; 1 % median",
    "freeverb": "1e-3 on every parameter",
    "auto": "right in ≥ 80 %",
    "mp3": "ratio, attack, release ≤ 5 %",
    "aac": "ratio, attack, release ≤ 5 %",
    "long": "≤ 20 s more than 10 s",
}


def summary(row: str, runs: list[dict]) -> str:
    def of(key: str) -> np.ndarray:
        return np.array([r[key] for r in runs])

    if row.startswith("gain"):
        limit = 1e-5 if row.endswith("16") else 1e-6
        good = (of("gain") <= limit) & (of("delay") <= 1e-3) & (of("polarity") > 0)
        return (
            f"gain {of('gain').max():.1e}, delay {of('delay').max():.1e} at worst; "
            f"met in {100 * good.mean():.0f} %"
        )
    if row.startswith("compressor"):
        names = ("threshold_db", "ratio", "attack_ms", "release_ms", "makeup_db")
        worst = np.max([of(n) for n in names], axis=0)
        share = 100 * (worst <= 0.01).mean()
        return f"{100 * worst.max():.2g} % at worst; within 1 % in {share:.0f} %"
    if row == "eq":
        return f"{np.median(of('curve')):.4f} dB median, {of('curve').max():.2g} worst"
    if row in {"eq_compressor", "long"}:
        medians = ", ".join(
            f"{n.partition('_')[0]} {100 * np.median(of(n)):.2g} %"
            for n in ("ratio", "attack_ms", "release_ms")
        )
        share = 100 * (of("null") >= 40).mean()
        return f"{np.median(of('null')):.0f} dB median, ≥ 40 dB in {share:.0f} %; {medians}"
    if row == "freeverb":
        return f"{of('worst').max():.1e} at worst"
    if row == "auto":
        return f"right in {100 * of('right').mean():.0f} %"
    if row in {"mp3", "aac"}:
        parts = []
        for n in ("ratio", "attack_ms", "release_ms"):
            parts.append(
                f"{n.partition('_')[0]} {100 * np.median(of(n)):.2g} % median, "
                f"≤ 5 % in {100 * (of(n) <= 0.05).mean():.0f} %"
            )
        return "; ".join(parts)
    return f"≥ 35 dB in {100 * (of('null') >= 35).mean():.0f} %"


def table(found: list[dict], rows) -> str:  # type: ignore[no-untyped-def]
    lines = [
        "## Match",
        "",
        "Settings that pedalboard applied to 10 s of music, found again from both files. Random "
        "settings in every run; generated songs and one real clip. Null: level of wet over what "
        "remains. Times are processor time on one thread, and on the clock with all processes of "
        "the benchmark running.",
        "",
        "| case | runs | goal | found | null, median (least) | CPU, median (most) | clock |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        runs = [d for d in found if d["row"] == row]
        failed = [d for d in runs if "error" in d]
        runs = [d for d in runs if "error" not in d]
        if not runs:
            continue
        null, cpu, wall = (np.array([r[k] for r in runs]) for k in ("null", "cpu", "wall"))
        text = summary(row, runs) + (f"; {len(failed)} failed" if failed else "")
        lines.append(
            f"| {TITLES[row]} | {len(runs) + len(failed)} | "
            f"{GOALS.get(row, 'null ≥ 35 dB in ≥ 80 %')} | {text} | "
            f"{np.median(null):.0f} ({null.min():.0f}) dB | {np.median(cpu):.1f} "
            f"({cpu.max():.1f}) s | {np.median(wall):.1f} s |"
        )
    return "\n".join(lines)


def run() -> str:
    seeds = int(os.environ.get("MATCH_SEEDS", "50"))
    workers = int(os.environ.get("MATCH_WORKERS", len(os.sched_getaffinity(0))))
    return table(collect(ROWS, seeds, workers), ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.matching", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rows", default=",".join(ROWS))
    given = parser.parse_args()
    rows = given.rows.split(",")
    print(table(collect(rows, given.seeds, given.workers), rows))


if __name__ == "__main__":
    main()
