"""What the effects are compared with: one row of the parity table each.

The reference gets the same float32 audio; scipy computes in float64, pedalboard in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import signal

from sonograd import effects
from sonograd import functional as F

RATE = 44_100


@dataclass(frozen=True)
class Case:
    """One effect with values against one reference with the same values."""

    name: str
    rival: str
    bound: float
    effect: Callable[[], torch.nn.Module]
    reference: Callable[[np.ndarray], np.ndarray]
    values: dict[str, float] = field(default_factory=dict)
    curves: dict[str, effects.Curve] = field(default_factory=dict)

    @property
    def label(self) -> str:
        shown = ", ".join(f"{name} {value:g}" for name, value in self.values.items())
        return f"{self.name} ({shown})" if shown else self.name

    def error(self) -> float:
        """Return the relative error in the Euclidean norm."""
        x = probe_signal()
        with torch.no_grad():
            y = self.effect()(torch.from_numpy(x), **{**self.values, **self.curves})
            ours = y.double().numpy()
        theirs = self.reference(x).astype(np.float64)
        return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def probe_signal() -> np.ndarray:
    """Return two seconds of stereo noise that is soft, loud, soft and middling."""
    rng = np.random.default_rng(0)
    level = np.repeat([0.05, 0.9, 0.1, 0.6], RATE // 2)
    return (0.3 * rng.standard_normal((2, 2 * RATE)) * level).astype(np.float32)


def _pedal(name: str, **values: float) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        import pedalboard

        result: np.ndarray = getattr(pedalboard, name)(**values)(x, RATE)
        return result

    return run


def _scipy(sections: torch.Tensor) -> Callable[[np.ndarray], np.ndarray]:
    sos = sections.numpy()
    return lambda x: signal.sosfilt(sos, x.astype(np.float64))


def _make(kind: str, **options: Any) -> Callable[[], torch.nn.Module]:
    return lambda: getattr(effects, kind)(RATE, **options)


def _filters() -> list[Case]:
    cases = []
    for name, pedal in (
        ("Peak", "PeakFilter"),
        ("LowShelf", "LowShelfFilter"),
        ("HighShelf", "HighShelfFilter"),
    ):
        for hz, gain, q in ((100.0, 6.0, 0.7), (1000.0, -12.0, 2.0), (8000.0, 9.0, 1.0)):
            values = {"frequency_hz": hz, "gain_db": gain, "q": q}
            run = _pedal(pedal, cutoff_frequency_hz=hz, gain_db=gain, q=q)
            bound = 3e-4 if hz < 200 else 2e-5
            cases.append(Case(name, "pedalboard", bound, _make(name), run, values))
    for name, pedal in (("LowPass", "LowpassFilter"), ("HighPass", "HighpassFilter")):
        run = _pedal(pedal, cutoff_frequency_hz=500.0)
        values = {"cutoff_hz": 500.0}
        cases.append(
            Case(f"{name}, order 1", "pedalboard", 2e-5, _make(name, order=1), run, values)
        )
    for order in (1, 2, 4, 8):
        for name, kind in (("LowPass", "low"), ("HighPass", "high")):
            sos = torch.from_numpy(signal.butter(order, 300.0, kind, output="sos", fs=RATE))
            made, values = _make(name, order=order), {"cutoff_hz": 300.0}
            cases.append(Case(f"{name}, order {order}", "scipy", 1e-6, made, _scipy(sos), values))
    return [*cases, *_narrow_filters()]


def _narrow_filters() -> list[Case]:
    values, sections = {}, []
    for k, hz in enumerate((30.0, 45.0, 60.0, 1000.0), start=1):
        values |= {f"band{k}_frequency_hz": hz, f"band{k}_gain_db": 6.0, f"band{k}_q": 10.0}
        sections.append(F.peak_biquad(hz, 6.0, 10.0, sample_rate=RATE))
    made, run = _make("ParametricEQ", bands=["peak"] * 4), _scipy(torch.stack(sections))
    case = Case("ParametricEQ, Q 10 at 30 to 60 Hz", "scipy", 1e-6, made, run, values)
    hidden = Case(case.name, "scipy", 1e-6, lambda: _Fixed(made(), values), run)
    return [hidden]


class _Fixed(torch.nn.Module):
    """An effect with values, to keep a long list of them out of the table."""

    def __init__(self, effect: torch.nn.Module, values: dict[str, float]) -> None:
        super().__init__()
        self.effect, self.values = effect, values

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.effect(x, **self.values)


def _dynamics() -> list[Case]:
    cases = []
    for threshold, ratio, attack, release in (
        (-20.0, 4.0, 5.0, 100.0),
        (-30.0, 8.0, 1.0, 50.0),
        (-12.0, 2.0, 30.0, 300.0),
    ):
        values = {
            "threshold_db": threshold,
            "ratio": ratio,
            "attack_ms": attack,
            "release_ms": release,
        }
        run = _pedal("Compressor", **values)
        cases.append(Case("Compressor", "pedalboard", 2e-5, _make("Compressor"), run, values))
    for threshold, release in ((-10.0, 100.0), (-3.0, 50.0)):
        values = {"threshold_db": threshold, "release_ms": release}
        run, made = _pedal("Limiter", **values), _make("TwoStageLimiter")
        cases.append(Case("TwoStageLimiter", "pedalboard", 2e-5, made, run, values))
    for threshold, ratio, attack, release in ((-20.0, 10.0, 1.0, 100.0), (-30.0, 2.0, 5.0, 50.0)):
        values = {
            "threshold_db": threshold,
            "ratio": ratio,
            "attack_ms": attack,
            "release_ms": release,
        }
        run = _pedal("NoiseGate", **values)
        cases.append(Case("Gate", "pedalboard", 2e-5, _make("Gate"), run, values))
    return cases


def _others() -> list[Case]:
    cases = []
    for room, damping, wet, dry, width in (
        (0.5, 0.5, 0.33, 0.4, 1.0),
        (0.9, 0.2, 0.5, 0.0, 0.3),
        (0.1, 0.9, 1.0, 0.0, 0.0),
    ):
        values = {"room_size": room, "damping": damping, "wet": wet, "dry": dry, "width": width}
        run = _settled_reverb(room, damping, wet, dry, width)
        cases.append(Case("Freeverb", "pedalboard", 2e-6, _make("Freeverb"), run, values))
    run = _pedal("Delay", delay_seconds=0.1, feedback=0.5, mix=0.4)
    values = {"delay_ms": 100.0, "feedback": 0.5, "mix": 0.4}
    cases.append(Case("Delay", "pedalboard", 1e-6, _make("Delay"), run, values))
    run = _pedal("Clipping", threshold_db=-6.0)
    cases.append(
        Case("Clipping", "pedalboard", 1e-6, _make("Clipping"), run, {"threshold_db": -6.0})
    )
    run = _pedal("Distortion", drive_db=12.0)
    cases.append(
        Case("Distortion", "pedalboard", 1e-6, _make("Distortion"), run, {"drive_db": 12.0})
    )
    for bits in (4.0, 8.0, 7.5):
        run = _pedal("Bitcrush", bit_depth=bits)
        cases.append(Case("BitCrush", "pedalboard", 1e-6, _make("BitCrush"), run, {"bits": bits}))
    for feedback in (0.0, 0.3):
        values = {"rate_hz": 1.0, "depth": 0.25, "feedback": feedback, "mix": 0.5}
        for name, hold, center in (
            ("Chorus", 1, {"centre_delay_ms": 7.0}),
            ("Phaser", 4, {"centre_frequency_hz": 1300.0}),
        ):
            run, moving = _pedal(name, **center, **values), {"rate_hz": _single_phase(1.0, hold)}
            cases.append(Case(name, "pedalboard", 1e-4, _make(name), run, values, moving))
    return cases


def _single_phase(rate_hz: float, hold: int) -> effects.Curve:
    """The rate at which an oscillator really runs that sums its phase in single precision."""
    turn = np.float32(2 * np.pi)
    step = np.float32(turn * np.float32(rate_hz) / np.float32(RATE / hold))
    phase, steps = np.float32(0), []
    for _ in range(2 * RATE // hold):
        later = np.float32(phase + step)
        wrapped = np.float32(later - turn) if later >= turn else later
        moved = float(wrapped) - float(phase) + (2 * np.pi if later >= turn else 0.0)
        steps.append(moved)
        phase = wrapped
    rates = np.repeat(np.array(steps) * RATE / (2 * np.pi * hold), hold)
    return effects.Curve(torch.from_numpy(rates))


def _settled_reverb(
    room: float, damping: float, wet: float, dry: float, width: float
) -> Callable[[np.ndarray], np.ndarray]:
    """A reverb whose own smoothing of its values has come to rest on silence."""

    def run(x: np.ndarray) -> np.ndarray:
        import pedalboard

        reverb = pedalboard.Reverb(room, damping, wet, dry, width)
        reverb(np.zeros((2, 8192), np.float32), RATE)
        result: np.ndarray = reverb(x, RATE, reset=False)
        return result

    return run


def cases() -> list[Case]:
    """Return every row of the table."""
    return [*_filters(), *_dynamics(), *_others()]
