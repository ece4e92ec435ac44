"""What an instrument has to play to sound like a recording."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional.frequency_estimation import refine_frequency
from sonograd.functional.pitch import track_pitch
from sonograd.losses import MultiResolutionSTFT
from sonograd.matching.modes import find_modes
from sonograd.matching.solve import null_db
from sonograd.params import Curve
from sonograd.shapes import check_audio
from sonograd.synths import FilteredNoise, Harmonic, Modal, Synth

__all__ = ["SynthMatch", "match_synth"]

_HOP = 256
_SEED = 0


@dataclass(frozen=True)
class SynthMatch:
    """Values of an instrument.

    Attributes:
        synth: The instrument.
        values: To call it with: ``synth(samples, **values)``; numbers, vectors and curves.
        processed: The sound it makes, ``(1, samples)``.
        null_db: Level of the target over what remains when the sound is subtracted; it says
            little about noise, whose waveform is another one each time.
        spectral_db: Root mean square difference of the spectra of short windows, in dB, where the
            target is less than 60 dB below its loudest.
        periodicity: Of a harmonic sound, how periodic the target is over time; else None.
        history: Loss after each step, where one was minimized.
        notes: What to know, one sentence each.
    """

    synth: Synth
    values: Mapping[str, Any]
    processed: Tensor = field(repr=False)
    null_db: float
    spectral_db: float
    periodicity: Tensor | None = field(repr=False, default=None)
    history: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def match_synth(
    target: Tensor,
    synth: Synth,
    *,
    hop_length: int = _HOP,
    low_hz: float = 50.0,
    high_hz: float = 1500.0,
    steps: int = 150,
    seed: int = _SEED,
    on_progress: Callable[[float, float], None] | None = None,
) -> SynthMatch:
    """Find the values with which an instrument sounds like ``target``.

    A :class:`~sonograd.synths.Harmonic` gets pitch and levels of its partials as curves, from a
    fit of sines to each window; :class:`~sonograd.synths.FilteredNoise` the short-time spectrum;
    :class:`~sonograd.synths.Modal` frequencies, levels and decays of the strongest partials. All
    others go down the gradient of a spectral loss, from the pitch and several starts.

    Args:
        target: ``(1, samples)`` or ``(samples,)``, mono, at least 50 ms.
        synth: The instrument.
        hop_length: Samples between points of curves.
        low_hz: Lowest pitch that is looked for.
        high_hz: Highest pitch.
        steps: Of gradient descent.
        seed: Of noise and starts.
        on_progress: Called with steps done, and of all.

    Raises:
        ShapeError: If ``target`` is not mono.
        AudioError: If it is silent, short, or holds what is no number.
    """
    x = _checked(target, synth)
    rate = float(synth.sample_rate)
    if isinstance(synth, Harmonic):
        return _harmonic(x, synth, rate, hop_length, (low_hz, high_hz))
    if isinstance(synth, FilteredNoise):
        return _noise(x, synth, seed)
    if isinstance(synth, Modal):
        return _modal(x, synth, rate)
    return _descended(x, synth, (low_hz, high_hz), steps, seed, on_progress)


def _checked(target: Tensor, synth: Synth) -> Tensor:
    if not isinstance(synth, Synth):
        raise ParameterError(f"synth is {synth!r}; expected an instrument like Harmonic(44100)")
    if not isinstance(target, Tensor):
        raise ShapeError(f"target is a {type(target).__name__}; expected a tensor (1, samples)")
    x = target.unsqueeze(0) if target.ndim == 1 else target
    check_audio(x, name="target", channels=1)
    if x.ndim != 2:
        raise ShapeError(f"target has shape {tuple(target.shape)}; expected (1, samples)")
    if not bool(x.isfinite().all()):
        raise AudioError("target holds samples that are no finite numbers; repair it first.")
    if x.shape[-1] < 0.05 * synth.sample_rate:
        raise AudioError(
            f"target has {x.shape[-1] / synth.sample_rate:.3f} s; expected at least 0.05 s."
        )
    if float(x.abs().max()) < 1e-6:
        raise AudioError("target is silent; expected sound.")
    return x.double()[0]


def _judged(
    x: Tensor, synth: Synth, values: Mapping[str, Any], seed: int = _SEED, **more: Any
) -> SynthMatch:
    """Play the values and compare."""
    with torch.no_grad():
        y = synth(x.numel(), generator=seed, **values).double().reshape(1, -1)
    rest = float((x - y[0]).square().sum())
    depth = null_db(float(x.square().sum()), rest)
    return SynthMatch(synth, dict(values), y.float(), depth, _spectral_db(x, y[0]), **more)


def _spectral_db(x: Tensor, y: Tensor) -> float:
    size = min(2048, x.numel())
    window = torch.hann_window(size, dtype=x.dtype)
    a, b = (
        torch.fft.rfft(v.unfold(-1, size, max(size // 4, 1)) * window).abs().square()
        for v in (x, y)
    )
    loud = a > a.max() * 1e-6
    if not bool(loud.any()):
        return 0.0
    apart = 10 * torch.log10((b[loud] + 1e-12 * a.max()) / a[loud])
    return float(apart.square().mean().sqrt())


def _harmonic(
    x: Tensor, synth: Harmonic, rate: float, hop: int, span: tuple[float, float]
) -> SynthMatch:
    """Pitch, then a least-squares fit of all harmonics in windows of a few periods."""
    low, high = span[0], min(span[1], 0.24 * rate)
    track = track_pitch(x, sample_rate=rate, low_hz=low, high_hz=high, hop_length=hop)
    pitched = track.periodicity > 0.5
    if not bool(pitched.any()):
        raise AudioError(
            f"target has no pitch between {low:.0f} and {high:.0f} Hz; expected a tone. "
            "For noise use FilteredNoise."
        )
    pitch = _filled(track.frequency_hz, pitched)
    count = max(1, min(synth.harmonics, int(0.48 * rate / float(pitch.max()))))
    length = int(4 * rate / float(pitch.median()))
    length = min(max(length, 4 * count, 256), max(x.numel(), 256))
    padded = torch.nn.functional.pad(x, (length // 2, length))
    frames = padded.unfold(-1, length, hop)[: pitch.numel()]
    fits = [
        refine_frequency(f, p, sample_rate=rate, harmonics=count, iterations=3)
        for f, p in zip(frames.split(256), pitch.split(256), strict=True)
    ]
    found = torch.cat([f.frequency_hz for f in fits])
    near = (found / pitch - 1).abs() < 0.02
    pitch = torch.where(near & pitched, found, pitch)
    levels = torch.cat([f.amplitudes for f in fits]).abs()
    # Windows that reach beyond the ends see less of the tone.
    centers = torch.arange(pitch.numel()) * hop
    inside = (centers.clamp_max(x.numel()) + length - length // 2).clamp_max(x.numel()) - (
        centers - length // 2
    ).clamp_min(0)
    levels = levels * (length / inside.clamp_min(length // 4))[:, None]
    total = levels.sum(-1).clamp(1e-9, 2.0)
    share = torch.zeros(pitch.numel(), synth.harmonics, dtype=torch.float64)
    share[:, :count] = levels / levels.sum(-1, keepdim=True).clamp_min(1e-9)
    values: dict[str, Any] = {
        "frequency_hz": Curve(pitch, hop),
        "amplitude": Curve(total, hop),
        "distribution": Curve(share.mT[None], hop),
    }
    values["phase_turns"] = _phase(x, synth, values)
    return _judged(x, synth, values, periodicity=track.periodicity)


def _filled(pitch: Tensor, known: Tensor) -> Tensor:
    """Replace what is no pitch by the nearest one before or after."""
    places = torch.arange(pitch.numel())
    last = torch.where(known, places, torch.full_like(places, -1)).cummax(0).values
    first = int(known.to(torch.int64).argmax())
    nearest: Tensor = pitch[torch.where(last < 0, torch.full_like(last, first), last)]
    return nearest


def _phase(x: Tensor, synth: Harmonic, values: Mapping[str, Any]) -> float:
    """Try phases over the first quarter second, and refine the best one."""
    samples = min(x.numel(), int(0.25 * synth.sample_rate))
    begin = x[:samples]

    def fits(turns: float) -> float:
        with torch.no_grad():
            y = synth(samples, **{**values, "phase_turns": turns % 1.0}).double().reshape(-1)
        return float((y * begin).sum())

    best = max((k / 16 for k in range(16)), key=fits)
    step = 1 / 32
    for _ in range(10):
        best = max((best - step, best, best + step), key=fits)
        step /= 2
    return best % 1.0


def _noise(x: Tensor, synth: FilteredNoise, seed: int) -> SynthMatch:
    """Short-time power over that of the instrument's own white noise."""
    size = max(2 * (synth.bands - 1), 32)
    window = torch.hann_window(size, dtype=x.dtype)
    with torch.no_grad():
        white = synth(16_384, generator=seed, amplitude=1.0).double().reshape(-1)

    def power(signal: Tensor, hop: int) -> Tensor:
        padded = torch.nn.functional.pad(signal, (size // 2, size))
        frames = padded.unfold(-1, size, hop)[: 1 + signal.numel() // hop]
        spectrum: Tensor = torch.fft.rfft(frames * window).abs().square()
        return spectrum

    unit = power(white, size // 2)[2:-2].mean()
    spectrum = power(x, synth.hop_length)
    # Averaging over neighbors in time: one window of noise says little about its level.
    width = max(1, round(0.03 * synth.sample_rate / synth.hop_length)) | 1
    smooth = torch.nn.functional.avg_pool1d(
        spectrum.mT[None], width, 1, width // 2, count_include_pad=False
    )[0]
    gains = (smooth / unit).sqrt()
    at = torch.linspace(0, gains.shape[0] - 1, synth.bands, dtype=x.dtype)
    left = at.floor().long().clamp_max(gains.shape[0] - 2)
    part = (at - left)[:, None]
    bands = gains[left] * (1 - part) + gains[left + 1] * part
    level = float(bands.max().clamp_min(1e-9))
    amplitude = min(level, 2.0)
    values = {
        "amplitude": amplitude,
        "magnitudes": Curve((bands / amplitude).clamp(0, 2)[None], synth.hop_length),
    }
    return _judged(x, synth, values, seed)


def _modal(x: Tensor, synth: Modal, rate: float) -> SynthMatch:
    """Peel off the strongest decaying sine, again and again, then refine all by Gauss-Newton."""
    start = int(x.abs().argmax()) if float(x[:16].abs().max()) < 1e-4 else 0
    theta = find_modes(x, rate, synth.modes)
    if not theta:
        raise AudioError("target has no partial above 20 Hz; expected a struck sound.")
    theta.sort()
    base = max(20.0, theta[0][0])
    peak = max(abs(m[2]) for m in theta) + 1e-9
    amplitude = min(peak, 2.0)
    filler = [(theta[-1][0], 0.01, 0.0)] * (synth.modes - len(theta))
    padded = [*theta, *filler]
    values = {
        "frequency_hz": base,
        "amplitude": amplitude,
        "ratios": torch.tensor([m[0] / base for m in padded], dtype=torch.float64),
        "levels": torch.tensor([min(abs(m[2]) / amplitude, 1.0) for m in padded]).double(),
        "decays_s": torch.tensor([m[1] for m in padded], dtype=torch.float64),
    }
    notes: tuple[str, ...] = ()
    if start:
        notes = (f"The target begins with {start / rate:.3f} s before its peak; cut it off first.",)
    return _judged(x, synth, values, notes=notes)


def _descended(
    x: Tensor,
    synth: Synth,
    span: tuple[float, float],
    steps: int,
    seed: int,
    on_progress: Callable[[float, float], None] | None,
) -> SynthMatch:
    """Adam on a spectral loss over the unit vector, from the best of several starts."""
    rate = float(synth.sample_rate)
    target = x.float()[None, None]
    loss = MultiResolutionSTFT()
    values: dict[str, Any] = {}
    if any(p.name == "frequency_hz" for p in synth.params):
        track = track_pitch(x, sample_rate=rate, low_hz=span[0], high_hz=min(span[1], 0.24 * rate))
        known = track.periodicity > 0.5
        if bool(known.any()):
            param = next(p for p in synth.params if p.name == "frequency_hz")
            pitch = float(track.frequency_hz[known].median())
            values["frequency_hz"] = min(max(pitch, param.low), param.high)
    _decay(x, synth, rate, values)
    begin = synth.to_unit(values)[0]
    held = torch.tensor([name == "frequency_hz" and name in values for name in synth.names])
    draws = torch.rand(
        8, begin.numel(), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    points = [begin, *(torch.where(held, begin, d) for d in draws)]

    def sound(unit: Tensor) -> Tensor:
        y: Tensor = synth(x.numel(), generator=seed, **synth.from_unit(unit))
        return y.float()

    with torch.no_grad():
        points = [_leveled(p, synth, sound, x) for p in points]
        scores = [float(loss(sound(p), target)) for p in points]
    unit = points[min(range(len(points)), key=scores.__getitem__)].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([unit], lr=0.01)
    best, kept, history = math.inf, unit.detach().clone(), []
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(sound(unit), target)
        value.backward()
        number = float(value.detach())
        if number < best:
            best, kept = number, unit.detach().clone()
        history.append(number)
        if unit.grad is not None:
            unit.grad.nan_to_num_(0.0, 0.0, 0.0)
            unit.grad[held] = 0.0
        optimizer.step()
        with torch.no_grad():
            unit.clamp_(0, 1)
        if on_progress is not None:
            on_progress(step + 1, steps)
    return _judged(x, synth, synth.from_unit(kept), seed, history=tuple(history))


def _decay(x: Tensor, synth: Synth, rate: float, values: dict[str, Any]) -> None:
    """Read the decay of a plucked sound off the slope of its level."""
    param = next((p for p in synth.params if p.name == "decay_s"), None)
    if param is None:
        return
    # Of the fundamental where it is known: high partials die sooner.
    size = max(1, round(0.04 * rate))
    signal: Tensor = x
    if "frequency_hz" in values:
        angle = -2 * math.pi * values["frequency_hz"] / rate * torch.arange(x.numel()).double()
        signal = torch.polar(torch.ones_like(angle), angle) * x
    parts = signal[: x.numel() // size * size].reshape(-1, size)
    power = parts.mean(1).abs().square() if signal.is_complex() else parts.square().mean(1)
    db = 10 * torch.log10(power + 1e-15)
    begin = int(db.argmax())
    falling = db[begin:]
    loud = int((falling > falling[0] - 40).to(torch.int64).cumprod(0).sum())
    if loud < 4:
        return
    at = torch.arange(loud, dtype=x.dtype) * size / rate
    part = falling[:loud]
    slope = float(((at - at.mean()) * (part - part.mean())).sum() / (at - at.mean()).square().sum())
    if slope < -1.0:
        values["decay_s"] = min(max(-60.0 / slope, param.low), param.high)


def _leveled(unit: Tensor, synth: Synth, sound: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Set the amplitude in closed form."""
    names = synth.names
    if "amplitude" not in names:
        return unit
    loud = float(sound(unit).double().square().mean().sqrt())
    if loud < 1e-9:
        return unit
    place = names.index("amplitude")
    param = next(p for p in synth.params if p.name == "amplitude")
    now = float(param.from_unit(unit[place]))
    wanted = torch.tensor(now * float(x.square().mean().sqrt()) / loud, dtype=torch.float64)
    leveled = unit.clone()
    leveled[place] = param.to_unit(wanted)
    return leveled
