"""Several notes at once: a list of notes becomes sound."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.noise import draw_seeds
from sonograd.params import Curve
from sonograd.synths.base import Synth
from sonograd.synths.envelope import Envelope

__all__ = ["Note", "render_notes"]

_AT_ONCE = 1 << 22  # samples of all notes rendered together, which bounds the memory


@dataclass(frozen=True, eq=False)
class Note:
    """One note.

    Attributes:
        start_s: When it begins, in seconds; rounded to a sample.
        duration_s: How long the key is held.
        frequency_hz: Its pitch: a number, a tensor of one value, for gradients, or a curve.
            Instruments without pitch do not look at it.
        velocity: Its amplitude, 0 to 1, a number or a tensor of one value.
        values: Further values for the instrument, as when calling it. Curves have values
            ``(frames,)``, those of vectors ``(width, frames)``, and run from the beginning of the
            note.
    """

    start_s: float
    duration_s: float
    frequency_hz: float | Tensor | Curve = 440.0
    velocity: float | Tensor = 1.0
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_pitch(
        cls, start_s: float, duration_s: float, pitch: float, velocity: float = 1.0, **values: Any
    ) -> "Note":
        """Make a note from a MIDI pitch: 69 is 440 Hz, 12 are an octave.

        >>> Note.from_pitch(0.0, 1.0, 57).frequency_hz
        220.0
        """
        return cls(start_s, duration_s, 440.0 * 2.0 ** ((pitch - 69.0) / 12.0), velocity, values)


def render_notes(
    synth: Synth,
    notes: Sequence[Note],
    *,
    envelope: Mapping[str, float | Tensor] | None = None,
    tail_s: float | None = None,
    samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Play notes, any number at a time.

    Notes of similar length are rendered as one batch, each as long as it is held and dies away.

    Args:
        synth: The instrument.
        notes: In any order; they may overlap.
        envelope: Values of an :class:`Envelope` that every note is multiplied with; its ``gate_s``
            is the duration of the note. Without one, a note is cut after ``tail_s``, with a fade of
            5 ms.
        tail_s: How long a note is heard after its key was let go; if not given, seven times the
            release of the envelope, or 0.05 seconds without one.
        samples: Length of the result; to the end of the last note if not given.
        generator: Where the noise comes from. Each note draws a seed in the order of the list.

    Returns:
        ``(1, samples)``: one channel, differentiable in everything but the times of the notes.

    Raises:
        ParameterError: If a note begins before 0 or has no length.
    """
    rate = synth.sample_rate
    shape = dict(envelope or {})
    if tail_s is None:
        release = torch.as_tensor(shape.get("release_s", Envelope.params[3].default)).detach()
        tail_s = 7 * float(release.max()) if envelope is not None else 0.05
    if tail_s < 0:
        raise ParameterError(f"tail_s is {tail_s}; expected at least 0")
    spans = [_span(note, index, rate, tail_s) for index, note in enumerate(notes)]
    if samples is None:
        samples = max((first + length for first, length in spans), default=0)
    seeds = draw_seeds(len(notes), generator) if synth.random else None
    total: Tensor | None = None
    for group in _groups(spans):
        chosen = [notes[k] for k in group]
        longest = max(spans[k][1] for k in group)
        sound = _play(synth, chosen, longest, None if seeds is None else seeds[group])
        if envelope is not None:
            gates = torch.tensor([n.duration_s for n in chosen], dtype=sound.dtype)
            level = Envelope(rate)(
                longest, batch=len(group), **{**shape, "gate_s": gates.to(sound.device)}
            )
            sound = sound * level[:, 0].to(sound)
        total = sound.new_zeros(samples) if total is None else total
        total = _add(total, sound, [spans[k] for k in group], rate)
    if total is None:
        total = torch.zeros(samples)
    return total.unsqueeze(0)


def _span(note: Note, index: int, rate: float, tail_s: float) -> tuple[int, int]:
    """First sample and length."""
    if not (0 <= note.start_s < math.inf and 0 < note.duration_s < math.inf):
        raise ParameterError(
            f"note {index} starts at {note.start_s} s and lasts {note.duration_s} s; "
            "expected a start from 0 on and a positive duration, both finite"
        )
    return round(note.start_s * rate), max(round((note.duration_s + tail_s) * rate), 1)


def _groups(spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Put notes of similar length together, few enough for the memory."""
    groups: list[list[int]] = []
    for k in sorted(range(len(spans)), key=lambda k: -spans[k][1]):
        longest = spans[groups[-1][0]][1] if groups else 0
        fits = groups and (len(groups[-1]) + 1) * longest <= _AT_ONCE
        if fits and spans[k][1] >= 0.7 * longest:
            groups[-1].append(k)
        else:
            groups.append([k])
    return groups


def _play(synth: Synth, notes: Sequence[Note], samples: int, seeds: Tensor | None) -> Tensor:
    """Render notes as one batch, ``(notes, samples)``."""
    pitched = any(param.name == "frequency_hz" for param in synth.params)
    rows: list[dict[str, Any]] = [dict(note.values) for note in notes]
    for note, row in zip(notes, rows, strict=True):
        if "frequency_hz" in row:
            raise ParameterError("frequency_hz is among the values of a note; give it by its name")
        if pitched:
            row["frequency_hz"] = note.frequency_hz
    values = {name: _stack(name, synth, rows) for name in {k: None for row in rows for k in row}}
    state = synth.init_state(len(notes), generator=torch.Generator()) if seeds is not None else None
    state = state or synth.init_state(len(notes))
    if seeds is not None:
        state = type(state)(state.batch, seed=seeds)
    sound, _ = synth.stream(samples, state, **values)
    loud = [torch.as_tensor(note.velocity, dtype=sound.dtype).reshape(()) for note in notes]
    return sound[:, 0] * torch.stack(loud).to(sound.device).unsqueeze(-1)


def _stack(name: str, synth: Synth, rows: Sequence[Mapping[str, Any]]) -> Tensor | Curve:
    """Join one value of several notes."""
    width = synth.widths.get(name)
    shape = (width,) if width else ()
    found = [row.get(name, synth.defaults().get(name)) for row in rows]
    if None in found:
        synth.controls(1, {name: 0.0})  # raises: there is no such parameter
    plain = [torch.as_tensor(v.values if isinstance(v, Curve) else v) for v in found]
    given = [t for t, v in zip(plain, found, strict=True) if not isinstance(v, float | int)]
    given = [t for t in given if t.is_floating_point()]
    dtype = given[0].dtype if given else torch.get_default_dtype()
    curves = [v for v in found if isinstance(v, Curve)]
    if not curves:
        return torch.stack(
            [t.to(dtype).expand(shape) if width else t.to(dtype).reshape(()) for t in plain]
        )
    hops = {curve.hop_length for curve in curves}
    if len(hops) > 1:
        raise ParameterError(
            f"{name} has curves with hop_length {sorted(hops)}; notes played together need one"
        )
    longest = max(curve.values.shape[-1] for curve in curves)
    lines = [
        _hold(
            t.to(dtype) if isinstance(v, Curve) else t.to(dtype).expand(shape).unsqueeze(-1),
            longest,
        )
        for t, v in zip(plain, found, strict=True)
    ]
    return Curve(torch.stack(lines), hops.pop())


def _hold(values: Tensor, frames: int) -> Tensor:
    last = values[..., -1:].expand(*values.shape[:-1], frames - values.shape[-1])
    return torch.cat([values, last], -1)


def _add(total: Tensor, sound: Tensor, spans: Sequence[tuple[int, int]], rate: float) -> Tensor:
    """Add each row of ``sound`` at its place, with a straight line to 0 over its last 5 ms."""
    places, pieces = [], []
    for row, (first, whole) in zip(sound, spans, strict=True):
        length = min(whole, total.shape[-1] - first)
        if length > 0:
            n = torch.arange(length, device=sound.device)
            fade = ((whole - n) / max(0.005 * rate, 1.0)).clamp(0, 1).to(sound.dtype)
            places.append(first + n)
            pieces.append(row[:length] * fade)
    if places:
        total.index_add_(0, torch.cat(places), torch.cat(pieces))
    return total
