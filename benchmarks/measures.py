"""Metrics and losses against the packages that the field uses, in one process."""

import ctypes
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sonograd import functional as F

RATE = 44_100


def resident(kind: str) -> float:
    """Return megabytes of resident memory now (VmRSS) or at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    return float("nan")


def trim() -> None:
    """Give freed memory back, so that it does not hide what is allocated next."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def measure(function: Callable[[], object], repeats: int = 3) -> tuple[float, float, object]:
    """Return the least time in seconds, peak memory beyond the inputs, and the result.

    On one thread it is processor time; on several the clock on the wall, since threads that wait
    for each other spend processor time, too.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times, peak, result = [], 0.0, None
    for _ in range(repeats):
        result = None
        trim()
        Path("/proc/self/clear_refs").write_text("5")
        before, start = resident("VmRSS"), clock()
        result = function()
        times.append(clock() - start)
        peak = max(peak, resident("VmHWM") - before)
    return min(times), peak, result


def row(name: str, rival: str, theirs: tuple, ours: tuple, deviation: str) -> str:
    return (
        f"| {name} | {rival} | {theirs[0]:.3g} s, {theirs[1]:.0f} MB | {ours[0]:.3g} s, "
        f"{ours[1]:.0f} MB | **{theirs[0] / ours[0]:.1f}x** | {deviation} |"
    )


def missing(name: str, package: str) -> str:
    return f"| {name} | {package} | not installed | | | |"


def music(seconds: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return estimates and references of four stereo stems: filtered noise with leakage."""
    generator = torch.Generator().manual_seed(0)
    samples = int(seconds * RATE)
    decay = torch.exp(-torch.arange(200) / 20)
    kernel = torch.randn(4, 2, 200, generator=generator) * decay
    reference = torch.randn(4, 2, samples, generator=generator)
    reference = 0.1 * F.fft_convolve(reference, kernel, mode="causal")
    estimate = reference + 0.3 * reference.roll(1, 0)
    estimate += 0.02 * torch.randn(reference.shape, generator=generator)
    return estimate, reference


def bss_rows(seconds: float) -> list[str]:
    name = f"BSS eval v4, {seconds:.0f} s, 4 stereo stems"
    try:
        # Only its metrics are wanted, not the readers of stem files.
        sys.modules.setdefault("stempeg", types.ModuleType("stempeg"))
        from museval.metrics import bss_eval as museval
    except ImportError:
        return [missing(name, "museval")]
    estimate, reference = music(seconds)
    theirs = measure(
        lambda: museval(
            reference.mT.double().numpy(), estimate.mT.double().numpy(), window=RATE, hop=RATE
        ),
        repeats=1,
    )
    ours = measure(lambda: F.bss_eval(estimate, reference, window=RATE), repeats=3)
    fast = measure(lambda: F.framewise_sdr(estimate, reference, window=RATE), repeats=5)
    wide = F.framewise_sdr(estimate.double(), reference.double(), window=RATE)
    names = ("sdr", "isr", "sir", "sar")
    gap = {
        key: float(np.nanmax(np.abs(getattr(ours[2], key).double().numpy() - theirs[2][index])))
        for index, key in enumerate(names)
    }
    others = max(gap[key] for key in names[1:])
    sdr_gap = float(np.nanmax(np.abs(wide.numpy() - theirs[2][0])))
    return [
        row(f"{name}, all four", "museval", theirs, ours, f"{others:.0e} dB"),
        row(f"{name}, SDR only", "museval", theirs, fast, f"{sdr_gap:.0e} dB in float64"),
    ]


def loss_row() -> str:
    name = "MultiResolutionSTFT, forward + backward, 8x2x131072"
    try:
        import auraloss
    except ImportError:
        return missing(name, "auraloss")
    from sonograd.losses import MultiResolutionSTFT

    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(8, 2, 131_072, generator=generator) * 0.1
    estimate = reference + torch.randn(reference.shape, generator=generator) * 0.03

    def steps(loss: torch.nn.Module) -> Callable[[], tuple[float, torch.Tensor]]:
        def step() -> tuple[float, torch.Tensor]:
            x = estimate.clone().requires_grad_()
            value = loss(x, reference)
            value.backward()
            return value.item(), x.grad

        return step

    theirs = measure(steps(auraloss.freq.MultiResolutionSTFTLoss()), repeats=2)
    ours = measure(steps(MultiResolutionSTFT()), repeats=4)
    coupled = measure(steps(MultiResolutionSTFT(batch_coupled=True)), repeats=2)
    exact = auraloss.freq.MultiResolutionSTFTLoss()
    x = estimate.double().requires_grad_()
    exact(x, reference.double()).backward()
    gradient = (coupled[2][1] - x.grad).norm() / x.grad.norm()
    own = (theirs[2][1] - x.grad).norm() / x.grad.norm()
    return row(
        name,
        "auraloss",
        theirs,
        ours,
        f"value {abs(coupled[2][0] - theirs[2][0]):.0e}, gradient {gradient:.0e} from its float64 "
        f"(auraloss's own float32: {own:.0e})",
    )


def broadcast_si_sdr(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Pairwise SI-SDR as asteroid computes it: all pairs as one big tensor."""
    reference, estimate = reference[:, None], estimate[:, :, None]
    product = (estimate * reference).sum(-1, keepdim=True)
    target = product * reference / (reference.square().sum(-1, keepdim=True) + 1e-8)
    noise = estimate - target
    return 10 * torch.log10(target.square().sum(-1) / (noise.square().sum(-1) + 1e-8) + 1e-8)


def pairwise_row() -> str:
    generator = torch.Generator().manual_seed(2)
    reference = torch.randn(1, 4, 30 * RATE, generator=generator)
    noise = torch.randn(reference.shape, generator=generator)
    estimate = reference.flip(1) + 1e-4 * noise
    theirs = measure(lambda: broadcast_si_sdr(estimate, reference), repeats=3)
    ours = measure(lambda: F.pairwise_si_sdr(estimate, reference), repeats=7)
    truth = F.si_sdr(estimate.flip(1).double(), reference.double())
    gap = (ours[2][0].flip(0).diagonal() - truth[0]).abs().max()
    return row(
        "pairwise SI-SDR 4x4, 30 s",
        "asteroid-style broadcast",
        theirs,
        ours,
        f"{gap:.0e} dB at 80 dB",
    )


def rvm_row() -> str:
    from sonograd.metrics import RelativeVolumeMel

    metric = RelativeVolumeMel()
    generator = torch.Generator().manual_seed(3)
    reference = 0.1 * torch.randn(8, 1, 10 * 24_000, generator=generator)
    estimate = reference + 0.02 * torch.randn(reference.shape, generator=generator)
    window = torch.hann_window(512)

    def mel(x: torch.Tensor) -> torch.Tensor:
        """Transform as torchaudio does: torch.stft, complex modulus squared, matrix product."""
        flat = x.reshape(-1, x.shape[-1])
        spectrum = torch.stft(flat, 512, 128, window=window, center=True, return_complex=True)
        spectrum = spectrum.reshape(*x.shape[:-1], *spectrum.shape[-2:])
        power = (spectrum / window.square().sum().sqrt()).abs().pow(2.0)
        return (power.mT @ metric.filters).mT.sqrt()

    def reference_metric() -> torch.Tensor:
        level = reference.square().mean().sqrt().clamp(min=10 ** (-25 / 20))
        ours, theirs = mel(estimate / level), mel(reference / level)
        error = 20 * torch.log10((theirs - ours).abs().clamp(min=1e-6))
        base = 20 * torch.log10(theirs.clamp(min=10 ** (-25 / 20)))
        return (error - base).clamp(-25, 25).mean()

    theirs = measure(reference_metric, repeats=7)
    ours = measure(lambda: metric(estimate, reference)["rvm"], repeats=7)
    gap = abs(float(theirs[2] - ours[2]))
    return row("RVM, 8 x 10 s", "torchaudio-style reference", theirs, ours, f"{gap:.0e} dB")


def run() -> str:
    rows = [
        "## Metrics and losses",
        "",
        "The least time of some runs (of the processor on one thread, of the clock on the wall on "
        "two) and peak memory beyond the inputs, in one process. The deviation is the largest over "
        "frames and stems.",
    ]
    usual = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rows += [
                "",
                f"{threads} thread{'s' if threads > 1 else ''}:",
                "",
                "| work | rival | rival | sonograd | ratio | deviation |",
                "|---|---|---|---|---|---|",
                pairwise_row(),
                rvm_row(),
                loss_row(),
                *bss_rows(30),
                *(bss_rows(180) if threads == 1 else []),
            ]
    finally:
        torch.set_num_threads(usual)
    return "\n".join(rows)
