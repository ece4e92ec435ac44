"""Published separators against their originals: the same weights, the same song.

The originals are found as ``tests/separators/originals.py`` says: installed, or in the folder that
``SONOGRAD_ORIGINALS`` names. Each program runs in a process of its own, which loads the weights,
separates a song in memory, and reports the time that this took and its peak of memory. ``loaded``
means that another program keeps one core busy.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

FAMILIES = ("umxhq", "htdemucs", "hdemucs_mmi")
RATE = 44_100
#: Seconds of audio, and of the longer song whose memory is measured.
SECONDS = int(os.environ.get("BENCHMARK_SECONDS", "60"))
LONG = int(os.environ.get("BENCHMARK_LONG_SECONDS", "180"))
STEMS = ["drums", "bass", "other", "vocals"]
HTDEMUCS = {
    "sources": STEMS, "dconv_mode": 3, "bottom_channels": 512, "t_dropout": 0.02, "segment": 7.8,
}  # fmt: skip
UMX_TARGETS = ("vocals", "drums", "bass", "other")


def _original(name):
    sys.path.append(str(Path(__file__).parents[1] / "tests" / "separators"))
    import originals

    try:
        return originals, originals.original(name)
    except BaseException as error:  # a skip of pytest
        raise ImportError(str(error)) from None


def _song(seconds):
    import torch

    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(2, seconds * RATE, generator=generator)


def _theirs(family):
    """Return the original network, and its whole program as a function of the mix."""
    if family == "umxhq":
        originals, model = _original("openunmix.model")
        nets = {
            name: originals.randomize(
                model.OpenUnmix(nb_bins=2049, hidden_size=512, max_bin=1487), seed
            )
            for seed, name in enumerate(UMX_TARGETS)
        }
        network = model.Separator(nets, niter=1).eval()
        return network, lambda mix: network(mix[None])[0]
    _, apply = _original("demucs.apply")
    if family == "htdemucs":
        originals, module = _original("demucs.htdemucs")
        network = module.HTDemucs(**HTDEMUCS)
    else:
        originals, module = _original("demucs.hdemucs")
        network = module.HDemucs(sources=STEMS, segment=44)
    originals.randomize(network)

    def separate(mix):
        mono = mix.mean(0)
        level = mono.std() + 1e-8
        stems = apply.apply_model(network, ((mix - mono.mean()) / level)[None], shifts=0)
        return stems[0] * level + mono.mean()

    return network, separate


def _ours(family, theirs):
    from sonograd.separators import build_separator, htdemucs, hybrid_demucs, open_unmix

    if family == "umxhq":
        module, kwargs = open_unmix, {"nb_bins": 2049, "max_bin": 1487, "targets": UMX_TARGETS}
    elif family == "htdemucs":
        module, kwargs = htdemucs, HTDEMUCS
    else:
        module, kwargs = hybrid_demucs, {"sources": STEMS, "segment": 44}
    config = module.config_from_published(kwargs)
    separator = build_separator(config)
    separator.load_state_dict(module.convert_state(theirs.state_dict(), config))
    return separator.eval()


def child(family, program, precision, seconds, reference):
    """Run one program once and print its time, its memory and how far it is from ``reference``."""
    import resource

    import torch

    with torch.no_grad():
        network, separate = _theirs(family)
        if program == "ours":
            separator = _ours(family, network)
            network = separate = None
        mix = _song(seconds)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin = time.perf_counter()
        if program == "ours":
            from sonograd.jobs.pipeline import separate_blocks
            from sonograd.jobs.workers import ChunkRunner

            stems = []
            with ChunkRunner(torch.device("cpu"), precision=precision) as runner:
                for _, part in separate_blocks(
                    runner, separator, lambda: mix.split(1 << 16, dim=-1), plan=separator.plan,
                    channels=2, sample_rate=RATE, output_rate=RATE,
                ):  # fmt: skip
                    stems.append(part if reference else part[..., :0])
            stems = torch.cat(stems, -1)
        else:
            stems = separate(mix)
        elapsed = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    deviation = None
    if reference and program == "theirs":
        order = range(len(UMX_TARGETS))
        torch.save(stems[list(order)].half(), reference)
    elif reference and Path(reference).exists():
        wanted = torch.load(reference, weights_only=True).float()
        deviation = float((stems.float() - wanted).norm() / wanted.norm())
    print(json.dumps([elapsed, before, peak, deviation]))


def run_child(family, program, precision="32", seconds=SECONDS, reference=""):
    """Return time in seconds, memory before and at most in megabytes, and the deviation."""
    code = (
        "import sys; from benchmarks.separators import child; "
        "child(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, family, program, precision, str(seconds), reference],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def busy():
    """Keep one core busy until killed."""
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])


def em_row():
    """Compare the iterations of the Wiener filter, on one thread."""
    import torch

    from sonograd.functional import expectation_maximization

    try:
        _, filtering = _original("openunmix.filtering")
    except ImportError as error:
        return f"| Wiener EM | {error} | | | |"
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(300, 2049, 2, 2, 4, generator=generator)
    x = torch.randn(300, 2049, 2, 2, generator=generator)
    stems = torch.complex(y[:, :, :, 0], y[:, :, :, 1]).permute(3, 2, 1, 0).contiguous()
    mix = torch.complex(x[..., 0], x[..., 1]).permute(2, 1, 0).contiguous()
    times = [[], []]
    for _ in range(3):
        begin = time.process_time()
        theirs = filtering.expectation_maximization(y.clone(), x, 1)[0]
        times[0].append(time.process_time() - begin)
        begin = time.process_time()
        ours = expectation_maximization(stems, mix, iterations=1)
        times[1].append(time.process_time() - begin)
    wanted = torch.complex(theirs[:, :, :, 0], theirs[:, :, :, 1]).permute(3, 2, 1, 0)
    gap = float((ours - wanted).abs().norm() / wanted.abs().norm())
    slow, fast = min(times[0]), min(times[1])
    times = f"{slow:.2f} s | {fast:.2f} s | **{slow / fast:.1f}x**"
    return f"| 300 frames, 4 stems | {times} | {gap:.0e} |"


def rows_of(family, folder):
    """Return a row per condition; the least of the times of three interleaved runs."""
    reference = str(folder / f"{family}.pt")
    repeats = int(os.environ.get("BENCHMARK_REPEATS", "3"))
    for load in (False, True):
        other = busy() if load else None
        try:
            runs = {"theirs": [], "32": [], "bf16": []}
            for _ in range(repeats):
                runs["theirs"].append(run_child(family, "theirs", reference=reference))
                runs["32"].append(run_child(family, "ours", reference=reference))
                if not load:
                    runs["bf16"].append(run_child(family, "ours", "bf16", reference=reference))
        finally:
            if other is not None:
                other.kill()
        theirs = min(run[0] for run in runs["theirs"])
        for precision in ("32", "bf16"):
            if not runs[precision]:
                continue
            ours = min(run[0] for run in runs[precision])
            gap = runs[precision][0][3]
            yield (
                f"| {family} | {'one core busy' if load else 'quiet'} | {precision} "
                f"| {theirs:.1f} s | {ours:.1f} s | **{theirs / ours:.2f}x** | {gap:.0e} |"
            )


def run() -> str:
    import tempfile

    lines = [
        "## Published separators against their originals",
        "",
        f"{SECONDS} s of stereo noise, random weights, whole program without files. The deviation "
        "is relative; that of the stored reference, in half precision, is 3e-04.",
        "",
        "| model | machine | precision | original | sonograd | ratio | deviation |",
        "|---|---|---|---|---|---|---|",
    ]
    memory = []
    with tempfile.TemporaryDirectory() as name:
        for family in FAMILIES:
            try:
                lines += rows_of(family, Path(name))
                peaks = []
                for program, seconds in (("theirs", LONG), ("ours", LONG), ("ours", SECONDS)):
                    _, before, peak, _ = run_child(family, program, seconds=seconds)
                    peaks.append(f"{peak - before:.0f} MB")
                memory.append(f"| {family} | {' | '.join(peaks)} |")
            except (RuntimeError, ImportError) as error:
                lines.append(f"| {family} | {error} | | | | | |")
    lines += [
        "",
        "Peak memory beyond that of the loaded model:",
        "",
        f"| model | original, {LONG} s | sonograd, {LONG} s | sonograd, {SECONDS} s |",
        "|---|---|---|---|",
        *memory,
        "",
        "Iteration of the multichannel Wiener filter, one thread:",
        "",
        "| work | original | sonograd | ratio | deviation |",
        "|---|---|---|---|---|",
        em_row(),
    ]
    return "\n".join(lines)
