"""Time-frequency layers against nnAudio, librosa and torch.stft: time, deviation, peak memory.

Times are processor time on one thread, the median of several runs that take turns with the rival's,
in one process, which keeps the memory that a run gives back: whether the system has to hand it out
anew depends on what ran before, and can double the time of either side. Peak memory is what a run
adds to the resident memory of a process of its own.
"""

import contextlib
import ctypes
import importlib
import importlib.util
import io
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sonograd import frontends

Call = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """How many signals of which length."""

    name: str
    items: int
    seconds: int
    sample_rate: int
    runs: int


SIZES = {
    "A": Size("8 x 10 s, 22.05 kHz", 8, 10, 22_050, 7),
    "B": Size("1 x 180 s, 44.1 kHz", 1, 180, 44_100, 3),
    "C": Size("1 x 10 s, 22.05 kHz", 1, 10, 22_050, 5),
}


def music(size: Size) -> Tensor:
    """Return chords of decaying partials over noise, ``(items, samples)``."""
    rng = np.random.default_rng(0)
    samples = size.seconds * size.sample_rate
    beat = size.sample_rate // 2
    t = np.arange(beat) / size.sample_rate
    audio = 0.003 * rng.standard_normal((size.items, samples))
    for item in audio:
        for start in range(0, samples - beat + 1, beat):
            for pitch in rng.integers(36, 84, 3):
                hz = 440 * 2 ** ((pitch - 69) / 12)
                for partial in range(1, 6):
                    tone = np.sin(2 * np.pi * hz * partial * t + rng.uniform(0, 6)) / partial
                    item[start : start + beat] += 0.1 * tone * np.exp(-4 * t)
    return torch.from_numpy(audio).float()


def nnaudio(name: str, **options: object) -> torch.nn.Module:
    signal = importlib.import_module("scipy.signal")
    if not hasattr(signal, "blackmanharris"):  # its CFP looks for it there
        signal.blackmanharris = signal.windows.blackmanharris
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        module = importlib.import_module("nnAudio.features")
        return getattr(module, name)(**options)


def layer(module: torch.nn.Module, x: Tensor, **options: object) -> Call:
    def call() -> object:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return module(x, **options)

    return call


def trained(module: torch.nn.Module, x: Tensor) -> Call:
    """Return forward and backward."""

    def call() -> object:
        module.zero_grad()
        y = module(x)
        (y.abs() if y.is_complex() else y).square().mean().backward()
        return y

    return call


def inverse(size: Size, x: Tensor, **options: bool) -> Call:
    module = frontends.InvertibleConstantQ(sample_rate=size.sample_rate, **options)
    with torch.no_grad():
        spectrum = module(x)

    def call() -> object:
        with torch.no_grad():
            return module.inverse(spectrum)

    return call


def librosa(name: str, x: Tensor, **options: object) -> Call:
    library = importlib.import_module("librosa")
    function = library
    for part in name.split("."):
        function = getattr(function, part)
    audio = x.numpy()
    first = "S" if part == "griffinlim" else "y"
    return lambda: function(**{first: audio}, **options)


def plain_mel(size: Size, x: Tensor) -> Call:
    bank = frontends.MelSpectrogram(sample_rate=size.sample_rate).bank
    window = torch.hann_window(2048)

    def call() -> object:
        spectrum = torch.stft(x, 2048, 512, window=window, pad_mode="constant", return_complex=True)
        return bank @ spectrum.abs().square()

    return call


def plain_stft(x: Tensor) -> Call:
    window = torch.hann_window(2048)
    return lambda: torch.stft(x, 2048, 512, window=window, pad_mode="constant", return_complex=True)


def sides(size: Size, x: Tensor) -> dict[str, Callable[[], Call]]:
    """Return what can be measured; each is made when it is called."""
    r = size.sample_rate
    quiet = {"sr": r, "verbose": False}
    magnitude = {"sample_rate": r, "output": "magnitude"}
    learn = {"trainable_frequencies": True, "trainable_bandwidths": True, **magnitude}
    flat = {"pad_mode": "constant", **quiet}
    f = frontends
    return {
        "STFT": lambda: layer(f.STFT(sample_rate=r), x),
        "nnAudio STFT": lambda: layer(nnaudio("STFT", **flat), x),
        "torch.stft": lambda: plain_stft(x),
        "STFT, trained": lambda: trained(f.STFT(trainable=True, **magnitude), x),
        "nnAudio STFT, trained": lambda: trained(
            nnaudio("STFT", trainable=True, output_format="Magnitude", **flat), x
        ),
        "MelSpectrogram": lambda: layer(f.MelSpectrogram(sample_rate=r), x),
        "nnAudio MelSpectrogram": lambda: layer(nnaudio("MelSpectrogram", **flat), x),
        "librosa melspectrogram": lambda: librosa("feature.melspectrogram", x, sr=r),
        "torch.stft and matrix": lambda: plain_mel(size, x),
        "MelSpectrogram, trained": lambda: trained(
            f.MelSpectrogram(sample_rate=r, trainable=True), x
        ),
        "nnAudio MelSpectrogram, trained": lambda: trained(
            nnaudio("MelSpectrogram", trainable_mel=True, **flat), x
        ),
        "MFCC": lambda: layer(f.MFCC(sample_rate=r), x),
        "nnAudio MFCC": lambda: layer(nnaudio("MFCC", **flat), x),
        "librosa mfcc": lambda: librosa("feature.mfcc", x, sr=r),
        "GammatoneSpectrogram": lambda: layer(f.GammatoneSpectrogram(sample_rate=r), x),
        "nnAudio Gammatonegram": lambda: layer(nnaudio("Gammatonegram", **flat), x),
        "CombinedFrequencyPeriodicity": lambda: layer(
            f.CombinedFrequencyPeriodicity(sample_rate=r), x
        ),
        "nnAudio CFP": lambda: layer(nnaudio("CFP", fs=r), x),
        "GriffinLim": lambda: layer(f.GriffinLim(), plain_stft(x)().abs()),
        "librosa griffinlim": lambda: librosa("griffinlim", plain_stft(x)().abs()),
        "ConstantQ": lambda: layer(f.ConstantQ(sample_rate=r), x),
        "librosa cqt": lambda: librosa("cqt", x, sr=r),
        "nnAudio CQT1992v2": lambda: layer(
            nnaudio("CQT1992v2", output_format="Complex", **flat), x
        ),
        "nnAudio CQT2010v2": lambda: layer(
            nnaudio("CQT2010v2", output_format="Complex", **flat), x
        ),
        "compat CQT1992v2": lambda: layer(compat(sr=r, pad_mode="constant"), x),
        "ConstantQ, trained": lambda: trained(f.ConstantQ(**learn), x),
        "nnAudio CQT1992v2, trained": lambda: trained(
            nnaudio("CQT1992v2", trainable=True, **flat), x
        ),
        "nnAudio CQT2010v2, trained": lambda: trained(
            nnaudio("CQT2010v2", trainable=True, **flat), x
        ),
        "VariableQ": lambda: layer(f.VariableQ(sample_rate=r, n_bins=84, gamma=10.0), x),
        "nnAudio VQT": lambda: layer(nnaudio("VQT", gamma=10, **flat), x),
        "librosa vqt": lambda: librosa("vqt", x, sr=r, gamma=10.0),
        "InvertibleConstantQ": lambda: layer(f.InvertibleConstantQ(sample_rate=r), x),
        "InvertibleConstantQ, inverse": lambda: inverse(size, x),
        "InvertibleConstantQ, sliced": lambda: layer(
            f.InvertibleConstantQ(sample_rate=r, sliced=True), x
        ),
        "InvertibleConstantQ, sliced, inverse": lambda: inverse(size, x, sliced=True),
    }


def compat(**options: object) -> torch.nn.Module:
    from sonograd.compat.nnaudio.features import CQT1992v2

    return CQT1992v2(output_format="Complex", **options)


#: Ours, the rival, the sizes to compare at, and the ratio that is wanted.
ROWS: list[tuple[str, str, str, float | None]] = [
    ("STFT", "nnAudio STFT", "AB", 15),
    ("STFT", "torch.stft", "AB", 1),
    ("STFT, trained", "nnAudio STFT, trained", "A", None),
    ("MelSpectrogram", "nnAudio MelSpectrogram", "AB", None),
    ("MelSpectrogram", "librosa melspectrogram", "AB", None),
    ("MelSpectrogram", "torch.stft and matrix", "A", None),
    ("MelSpectrogram", "torch.stft and matrix", "B", 2),
    ("MelSpectrogram, trained", "nnAudio MelSpectrogram, trained", "A", None),
    ("MFCC", "nnAudio MFCC", "AB", 5),
    ("MFCC", "librosa mfcc", "AB", None),
    ("GammatoneSpectrogram", "nnAudio Gammatonegram", "AB", 5),
    ("CombinedFrequencyPeriodicity", "nnAudio CFP", "A", 5),
    ("GriffinLim", "librosa griffinlim", "C", None),
    ("ConstantQ", "librosa cqt", "AB", 4),
    ("ConstantQ", "librosa cqt", "C", 5),
    ("ConstantQ", "nnAudio CQT1992v2", "AB", 12),
    ("ConstantQ", "nnAudio CQT2010v2", "AB", 20),
    ("compat CQT1992v2", "nnAudio CQT1992v2", "AB", None),
    ("ConstantQ, trained", "nnAudio CQT1992v2, trained", "A", None),
    ("ConstantQ, trained", "nnAudio CQT2010v2, trained", "A", 3),
    ("VariableQ", "nnAudio VQT", "AB", 5),
    ("VariableQ", "librosa vqt", "AB", None),
    ("InvertibleConstantQ", "ConstantQ", "AB", 1 / 3),
    ("InvertibleConstantQ, inverse", "ConstantQ", "AB", 1 / 3),
    ("InvertibleConstantQ, sliced", "ConstantQ", "AB", 1 / 3),
    ("InvertibleConstantQ, sliced, inverse", "ConstantQ", "AB", 1 / 3),
]
#: Runs that take longer than this in seconds are not repeated.
PATIENCE = 3.0


def spent(call: Call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def compare(ours: Call, theirs: Call, runs: int) -> tuple[float, float]:
    """Return the median processor times in seconds, taking turns."""
    spent(ours)
    first = spent(theirs)
    if first > PATIENCE:
        return statistics.median(spent(ours) for _ in range(3)), first
    times = [(spent(ours), spent(theirs)) for _ in range(runs)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def keep_memory(keep: bool) -> None:
    """Let this process keep the memory that is freed, or give back all of it and go on doing so.

    Only with the C library of GNU.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(-4, 0 if keep else 65_536)  # blocks that are maps of their own
        library.mallopt(-1, 2**31 - 1 if keep else 1 << 17)  # free bytes at the end that are kept
        if not keep:
            library.mallopt(-3, 1 << 17)  # bytes from which on a block is a map
            library.malloc_trim(0)


def peak(make: Callable[[], Call]) -> float:
    """Return the MiB that one run adds, in a process of its own."""
    receive, send = os.pipe()
    if not os.fork():
        os.close(receive)
        keep_memory(False)  # nor what others left
        call = make()
        STATUS.with_name("clear_refs").write_text("5")  # begin to count anew
        before = status("VmRSS")
        call()
        os.write(send, str(max(status("VmHWM") - before, 0.0)).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as file:
        found = file.read()
    os.wait()
    return float(found or "nan")


STATUS = Path("/proc/self/status")


def status(name: str) -> float:
    """Return a size of this process in MiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def relative(a: Tensor, b: Tensor) -> float:
    a, b = a.to(torch.complex128), b.to(torch.complex128)
    return float((a - b).norm() / b.norm())


def defined(x: Tensor, sample_rate: int, points: int = 400) -> float:
    """Return the error of ConstantQ at random points against its definition in float64."""
    layer_ = frontends.ConstantQ(sample_rate=sample_rate)
    with torch.no_grad():
        y = layer_(x[:1])[0].numpy()
    rng = np.random.default_rng(1)
    ratio = 2 ** (1 / 6)
    alpha = (ratio - 1) / (ratio + 1)
    audio, wrong, total = x[0].double().numpy(), 0.0, 0.0
    for k, t in zip(
        rng.integers(0, y.shape[0], points), rng.integers(0, y.shape[1], points), strict=True
    ):
        hz = 32.70319566257483 * 2 ** (k / 12)
        length = sample_rate / (alpha * hz)
        n = np.arange(-math.floor(length / 2), math.floor(length / 2) + 1)
        window = 0.5 + 0.5 * np.cos(2 * np.pi * n / length)
        atom = window / window.sum() * np.exp(-2j * np.pi * hz / sample_rate * n)
        place = t * 512 + n
        inside = (place >= 0) & (place < len(audio))
        value = math.sqrt(length) * (atom[inside] * audio[place[inside]]).sum()
        wrong += abs(y[k, t] - value) ** 2
        total += abs(value) ** 2
    return math.sqrt(wrong / total)


def deviations() -> list[str]:
    """Return what each layer deviates from its reference by."""
    size = SIZES["C"]
    x, r = music(size), size.sample_rate
    library = importlib.import_module("librosa")
    audio = x.double().numpy()
    window = torch.hann_window(2048, dtype=torch.float64)
    exact = torch.stft(
        x.double(), 2048, 512, window=window, pad_mode="constant", return_complex=True
    )
    f = frontends
    rows = []
    with torch.no_grad():
        rows.append(("STFT", "torch.stft in float64", relative(f.STFT(sample_rate=r)(x), exact)))
        for name, module, reference in (
            (
                "MelSpectrogram",
                f.MelSpectrogram(sample_rate=r),
                library.feature.melspectrogram(y=audio, sr=r),
            ),
            ("MFCC", f.MFCC(sample_rate=r), library.feature.mfcc(y=audio, sr=r)),
        ):
            rows.append(
                (name, "librosa in float64", relative(module(x), torch.from_numpy(reference)))
            )
        gammatone = nnaudio("Gammatonegram", sr=r, pad_mode="constant", verbose=False)
        rows.append(
            (
                "GammatoneSpectrogram",
                "nnAudio",
                relative(f.GammatoneSpectrogram(sample_rate=r)(x), gammatone(x)),
            )
        )
        rows.append(("ConstantQ", "definition in float64, 400 points", defined(x, r)))
        equal = f.ConstantQ(sample_rate=r, lengths="librosa")(x)
        reference = torch.from_numpy(library.cqt(audio, sr=r, sparsity=0))
        inner = slice(60, -60)
        rows.append(
            (
                'ConstantQ(lengths="librosa")',
                "librosa.cqt(sparsity=0), interior frames",
                relative(equal[..., inner], reference[..., inner]),
            )
        )
        for name, options in (
            ("InvertibleConstantQ, whole", {}),
            ("InvertibleConstantQ, sliced", {"sliced": True}),
        ):
            module = f.InvertibleConstantQ(sample_rate=r, **options)
            rows.append(
                (name, "its input, after the inverse", relative(module.inverse(module(x)), x))
            )
        theirs = nnaudio(
            "CQT1992v2", sr=r, pad_mode="constant", verbose=False, output_format="Complex"
        )
        ours = compat(sr=r, pad_mode="constant")
        rows.append(("compat CQT1992v2", "nnAudio CQT1992v2", relative(ours(x), theirs(x))))
    return [f"| {name} | {reference} | {error:.1e} |" for name, reference, error in rows]


def table(rows: list[tuple[str, str, str, float | None]] = ROWS) -> list[str]:
    lines = []
    peaks: dict[tuple[str, str], float] = {}
    signals = {name: music(size) for name, size in SIZES.items()}
    for ours, theirs, names, goal in rows:
        for name in names:
            size, x = SIZES[name], signals[name]
            made = sides(size, x)
            a, b = compare(made[ours](), made[theirs](), size.runs)
            for side in (ours, theirs):
                if (side, name) not in peaks:
                    peaks[side, name] = peak(made[side])
            want = "" if goal is None else f"≥ {goal:.2g}"
            lines.append(
                f"| {ours} | {theirs} | {size.name} | {1000 * a:.1f} | {1000 * b:.1f} "
                f"| {b / a:.2g} | {want} | {peaks[ours, name]:.0f} | {peaks[theirs, name]:.0f} |"
            )
            print(lines[-1], flush=True)
    return lines


def run() -> str:
    for package in ("nnAudio", "librosa", "scipy"):
        if importlib.util.find_spec(package) is None:
            raise SystemExit(
                f"this topic measures {package}; install it with: pip install {package}"
            )
    torch.set_num_threads(1)
    keep_memory(True)
    rows = [
        "## Time-frequency layers",
        "",
        "Processor time on one thread in ms, forward only; *trained* is forward and backward. "
        "It is the median of 3 to 7 runs that take turns with the rival's in one process; of "
        "rivals that take more than 3 s, one run. The process keeps the memory that it has had, so "
        "that neither side waits until the system hands it out anew; where it does, all take "
        "longer, and those that need more memory most. Each row measures both sides, so that the "
        "time of one layer differs between rows by what else the machine does. Peak memory in MiB "
        "is what one run adds to a process of its own. All layers with their defaults (84 "
        "constant-Q bins, FFT of 2048 samples, 128 mels), zero padding, complex spectra where "
        "there are any.",
        "",
        "| ours | rival | signals | ours, ms | rival, ms | ratio | goal | peak | rival's peak |",
        "|---|---|---|---|---|---|---|---|---|",
        *table(),
        "",
        "Relative deviations (Frobenius norm), single precision, music of 10 s at 22.05 kHz:",
        "",
        "| layer | reference | deviation |",
        "|---|---|---|",
        *deviations(),
    ]
    return "\n".join(rows)
