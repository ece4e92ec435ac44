"""Effects against other libraries: time, deviation and peak memory on one thread.

Each row runs in a process of its own, so that memory is its own and no library sets the threads of
another. Times are CPU time, the best of several runs after a first one.
"""

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

RATE = 44_100
EQ_ROWS = (
    "sonograd",
    "sonograd float64",
    "dasp_pytorch",
    "torchlpc",
    "scipy",
    "scipy float32",
    "pedalboard",
)
COMPRESSOR_ROWS = ("sonograd", "sonograd without numba", "torchcomp", "dasp_pytorch", "pedalboard")
REVERB_ROWS = ("sonograd", "pedalboard")
CHAIN_ROWS = ("sonograd", "sonograd in blocks", "pedalboard")
VOCAL_SECONDS = 180
Result = dict[str, float | str | None]


def best(run: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time in ms; the first run is not counted."""
    run()
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        least = min(least, time.process_time() - start)
    return 1000 * least


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


# -- the equalizer -----------------------------------------------------------------------------


def eq_values(*, narrow: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies, gains and Q of six bands for four items."""
    rng = np.random.default_rng(1)
    hz = np.array([[80.0, 200, 800, 2500, 6000, 10_000]]) * rng.uniform(0.8, 1.2, (4, 6))
    gain = rng.uniform(-9, 9, (4, 6))
    q = rng.uniform(0.7, 2.0, (4, 6))
    if narrow:
        hz[:, 1:4], q[:, 1:4] = rng.uniform(30, 60, (4, 3)), 10.0
    return hz, gain, q


def eq_sections(hz, gain, q):  # type: ignore[no-untyped-def]
    import torch

    from sonograd import functional as F

    low = F.low_shelf_biquad(hz[:, :1], gain[:, :1], q[:, :1], sample_rate=RATE)
    middle = F.peak_biquad(hz[:, 1:5], gain[:, 1:5], q[:, 1:5], sample_rate=RATE)
    high = F.high_shelf_biquad(hz[:, 5:], gain[:, 5:], q[:, 5:], sample_rate=RATE)
    return torch.cat([low, middle, high], dim=1)


def eq_runner(rival: str):  # type: ignore[no-untyped-def]
    """Return ``run(x, values)``."""
    import torch

    if rival.startswith("sonograd"):
        from sonograd import functional as F

        return lambda x, values: F.sosfilt(x, eq_sections(*values)[:, None])
    if rival == "dasp_pytorch":
        from dasp_pytorch.functional import parametric_eq

        def dasp(x, values):  # type: ignore[no-untyped-def]
            hz, gain, q = (v.float() for v in values)
            bands = [v[:, k] for k in range(6) for v in (gain, hz, q)]
            return parametric_eq(x, RATE, *bands)

        return dasp
    if rival == "torchlpc":
        from torchlpc import sample_wise_lpc

        def lpc(x, values):  # type: ignore[no-untyped-def]
            sections = eq_sections(*values).float().repeat_interleave(2, 0)
            y = x.reshape(8, -1)
            for section in sections.unbind(1):
                b, a = section[:, None, :3], section[:, None, 4:]
                earlier = torch.nn.functional.pad(y, (2, 0))
                y = b[..., 0] * y + b[..., 1] * earlier[:, 1:-1] + b[..., 2] * earlier[:, :-2]
                y = sample_wise_lpc(y, a.expand(-1, y.shape[1], -1))
            return y.reshape(x.shape)

        return lpc
    if rival.startswith("scipy"):
        from scipy.signal import sosfilt

        dtype = np.float32 if rival.endswith("32") else np.float64

        def scipy_run(x, values):  # type: ignore[no-untyped-def]
            sections = eq_sections(*values).numpy().astype(dtype)
            pairs = zip(sections, x.numpy().astype(dtype, copy=False), strict=True)
            return torch.from_numpy(np.stack([sosfilt(s, item) for s, item in pairs]))

        return scipy_run
    return pedal_eq


def pedal_eq(x, values):  # type: ignore[no-untyped-def]
    import pedalboard as pb
    import torch

    outputs = []
    for item, hz, gain, q in zip(x.numpy(), *(v.numpy() for v in values), strict=True):
        kinds = (pb.LowShelfFilter, *(pb.PeakFilter,) * 4, pb.HighShelfFilter)
        settings = zip(kinds, hz, gain, q, strict=True)
        board = pb.Pedalboard([kind(f, g, width) for kind, f, g, width in settings])
        outputs.append(board(item, RATE))
    return torch.from_numpy(np.stack(outputs))


def eq_row(rival: str) -> Result:
    import torch
    from scipy.signal import sosfilt

    rng = np.random.default_rng(0)
    wide = rival in {"scipy", "sonograd float64"}
    audio = rng.standard_normal((4, 2, 441_000)).astype(np.float32)
    x = torch.from_numpy(audio.astype(np.float64) if wide else audio)
    run = eq_runner(rival)
    result: Result = {}
    for name, narrow in (("error", False), ("error of narrow low bands", True)):
        values = [torch.from_numpy(v) for v in eq_values(narrow=narrow)]
        sections = eq_sections(*values).numpy()
        pairs = zip(sections, audio.astype(np.float64), strict=True)
        expected = np.stack([sosfilt(s, item) for s, item in pairs])
        with torch.no_grad():
            result[name] = relative(run(x, values).double().numpy(), expected)
    values = [torch.from_numpy(v) for v in eq_values()]
    with torch.no_grad():
        result["forward"] = best(lambda: run(x, values), 5)
    if not rival.startswith(("scipy", "pedalboard")):
        weights = torch.randn_like(x)
        leaves = [v.requires_grad_() for v in values]
        result["with gradients"] = best(lambda: (run(x, leaves) * weights).sum().backward(), 3)
    return result


# -- the compressor ----------------------------------------------------------------------------


def compressor_row(rival: str) -> Result:
    import torch

    if rival.endswith("numba"):
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    rng = np.random.default_rng(0)
    x = torch.from_numpy((0.3 * rng.standard_normal((8, 1, 441_000))).astype(np.float32))
    settings = (-20.0, 4.0, 5.0, 100.0)
    values = [torch.full((8,), v, requires_grad=True) for v in settings]
    run = compressor_runner(rival)
    result: Result = {}
    with torch.no_grad():
        y = run(x, values)
        result["forward"] = best(lambda: run(x, values), 3)
    if find_spec("pedalboard") and rival.startswith(("sonograd", "pedalboard")):
        import pedalboard

        expected = np.stack([pedalboard.Compressor(*settings)(item, RATE) for item in x.numpy()])
        result["error"] = relative(y.numpy(), expected)
    if rival != "pedalboard":
        result["with gradients"] = best(lambda: run(x, values).sum().backward(), 3)
    return result


def compressor_runner(rival: str):  # type: ignore[no-untyped-def]
    import torch

    if rival.startswith("sonograd"):
        from sonograd.effects import Compressor

        names = ("threshold_db", "ratio", "attack_ms", "release_ms")
        effect = Compressor(RATE)
        return lambda x, values: effect(x, **dict(zip(names, values, strict=True)))
    if rival == "torchcomp":
        import torchcomp

        def comp(x, values):  # type: ignore[no-untyped-def]
            threshold, ratio, attack, release = values
            times = (torchcomp.ms2coef(v, RATE) for v in (attack, release))
            level = x[:, 0].abs() + 1e-6
            floor, half = torch.full((8,), -100.0), torch.full((8,), 0.5)
            return torchcomp.compexp_gain(level, threshold, ratio, floor, half, *times) * x[:, 0]

        return comp
    if rival == "dasp_pytorch":
        from dasp_pytorch.functional import compressor

        zero, knee = torch.zeros(8), torch.full((8,), 0.1)
        return lambda x, values: compressor(x, RATE, *values, knee, zero)

    def pedal(x, values):  # type: ignore[no-untyped-def]
        import pedalboard

        board = pedalboard.Compressor(*(float(v[0]) for v in values))
        return torch.from_numpy(np.stack([board(item, RATE) for item in x.numpy()]))

    return pedal


# -- the reverb and the chain ------------------------------------------------------------------


def reverb_row(rival: str) -> Result:
    import torch

    x = (0.3 * np.random.default_rng(0).standard_normal((2, 10 * RATE))).astype(np.float32)
    import pedalboard

    reverb = pedalboard.Reverb(0.5, 0.5, 0.33, 0.4, 1.0)
    reverb(np.zeros((2, 8192), np.float32), RATE)
    expected = reverb(x, RATE, reset=False)
    if rival == "pedalboard":
        return {"forward": best(lambda: reverb(x, RATE), 3), "error": 0.0}
    from sonograd.effects import Freeverb

    effect, audio = Freeverb(RATE), torch.from_numpy(x)
    values = {p.name: torch.tensor([p.default], requires_grad=True) for p in effect.params}
    result: Result = {}
    with torch.no_grad():
        result["error"] = relative(effect(audio).numpy(), expected)
        result["forward"] = best(lambda: effect(audio), 3)
        result["stream"] = best(lambda: streamed(effect, audio, {}, 4096), 1)
    result["with gradients"] = best(lambda: effect(audio, **values).sum().backward(), 2)
    return result


def streamed(effect, audio, values, size: int):  # type: ignore[no-untyped-def]
    import torch

    state, parts = effect.init_state(1, audio.shape[-2]), []
    for block in audio.split(size, dim=-1):
        part, state = effect.stream(block, state, **values)
        parts.append(part)
    return torch.cat(parts, dim=-1)


def vocal_chain():  # type: ignore[no-untyped-def]
    """Return the chain and its values: EQ, compressor, de-esser, delay, reverb, limiter."""
    from sonograd import effects as fx

    chain = fx.Chain(
        eq=fx.ParametricEQ(RATE),
        compressor=fx.Compressor(RATE),
        de_esser=fx.DeEsser(RATE),
        delay=fx.Delay(RATE),
        reverb=fx.Freeverb(RATE),
        limiter=fx.Limiter(RATE),
    )
    values = {
        "eq": {"band1_gain_db": -3.0, "band3_gain_db": 2.0, "band6_gain_db": 3.0},
        "compressor": {"threshold_db": -24.0, "ratio": 3.0, "makeup_db": 4.0},
        "delay": {"delay_ms": 240.0, "feedback": 0.2, "mix": 0.15},
        "reverb": {"wet": 0.1, "dry": 0.45},
    }
    return chain, values


def chain_row(rival: str) -> Result:
    import torch

    rng = np.random.default_rng(0)
    x = (0.2 * rng.standard_normal((2, VOCAL_SECONDS * RATE))).astype(np.float32)
    if rival == "pedalboard":
        import pedalboard as pb

        board = pb.Pedalboard(
            [
                pb.LowShelfFilter(80, -3.0),
                *(pb.PeakFilter(f, 2.0) for f in (210, 550, 1450, 3800)),
                pb.HighShelfFilter(10_000, 3.0),
                pb.Compressor(-24, 3, 5, 100),
                # It has no de-esser: as much work is a high pass and another compressor.
                pb.Mix(
                    [pb.LowpassFilter(6000), pb.Chain([pb.HighpassFilter(6000), pb.Compressor()])]
                ),
                pb.Delay(0.24, 0.2, 0.15),
                pb.Reverb(0.5, 0.5, 0.1, 0.45),
                pb.Limiter(-1.0),
            ]
        )
        return {"forward": best(lambda: board(x, RATE), 1)}
    chain, values = vocal_chain()
    audio = torch.from_numpy(x)
    size = 1 << 18 if rival.endswith("blocks") else audio.shape[-1]
    with torch.no_grad():
        chain(audio[..., :RATE], **values)
        return {"forward": best(lambda: streamed(chain, audio, values, size), 1)}


# -- the table ---------------------------------------------------------------------------------

TASKS = {
    "eq": ("6-band parametric EQ, 4 x stereo x 10 s", eq_row, EQ_ROWS),
    "compressor": ("compressor, 8 x 10 s", compressor_row, COMPRESSOR_ROWS),
    "reverb": ("freeverb, 10 s stereo", reverb_row, REVERB_ROWS),
    "chain": (f"vocal chain, {VOCAL_SECONDS} s stereo", chain_row, CHAIN_ROWS),
}


def measure(task: str, rival: str) -> Result:
    """Run one row in a process of its own."""
    module = rival.split(maxsplit=1)[0]
    if module != "sonograd" and find_spec(module) is None:
        return {"missing": module}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.effects", task, rival],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1]}
    found: Result = json.loads(done.stdout.splitlines()[-1])
    return found


def cell(value: float | str | None, first: float | str | None = None) -> str:
    if not isinstance(value, float):
        return "-"
    ratio = f" ({value / first:.1f}x)" if isinstance(first, float) and value != first else ""
    return f"{value:.0f} ms{ratio}"


def run() -> str:
    lines = [
        "## Effects",
        "",
        "CPU time on one thread, the best of several runs; in parentheses, times that of the first "
        "row. Memory is the peak of the whole process, interpreter and libraries included. Errors "
        "are relative to scipy in float64 (EQ) and pedalboard (compressor, reverb), which the "
        "other compressors do not try to equal. With gradients: forward and backward to all "
        "parameters.",
    ]
    for task, (title, _, rivals) in TASKS.items():
        lines += [
            "",
            f"**{title}**",
            "",
            "| | forward | with gradients | relative error | peak memory |",
            "|---|---|---|---|---|",
        ]
        first: Result = {}
        notes: list[str] = []
        for rival in rivals:
            found = measure(task, rival)
            first = first or found
            if "missing" in found:
                notes.append(f"{rival}: not measured ({found['missing']}).")
                continue
            shown = [cell(found.get(k), first.get(k)) for k in ("forward", "with gradients")]
            errors = [found[k] for k in ("error", "error of narrow low bands") if k in found]
            error = " / ".join(f"{value:.1e}" for value in errors) or "-"
            lines.append(
                f"| {rival} | {shown[0]} | {shown[1]} | {error} | {found['peak']:.0f} MB |"
            )
            if isinstance(found.get("stream"), float):
                speed = 10_000 / float(found["stream"] or 1)
                notes.append(f"Streamed in blocks of 4096 samples: {speed:.0f} times real time.")
        if task == "eq":
            notes.append("Second error: three of the bands at 30 to 60 Hz with Q 10.")
        lines += ["", *notes] if notes else []
    return "\n".join(lines)


if __name__ == "__main__":
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    row = TASKS[sys.argv[1]][1](sys.argv[2])
    print(json.dumps({**row, "peak": peak_mb()}))
