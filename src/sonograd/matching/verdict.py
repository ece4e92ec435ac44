"""The result in words."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sonograd.effects import Compressor, Gain, Gate
from sonograd.matching.identify import IDLE_RATIO, Certainty
from sonograd.matching.result import Alignment, Score
from sonograd.matching.stages import Plan, stages_of

__all__ = ["verdict"]

_EXACT_DB = 200.0  # null depth that is rounding of float64
_SAME_DB = 120.0  # null depth of a gain alone beyond which there is no other change
_ROUGH_DB = 25.0  # null depth below which a chain is a rough model
_SEEN, _SURE = 0.002, 0.1  # delays in samples worth telling, of a good model and of a rough one

Nested = Mapping[str, Mapping[str, float]]


def verdict(
    plan: Plan,
    values: Nested,
    sure: Certainty,
    score: Score,
    alignment: Alignment,
    *,
    processed: Tensor,
    wet: Tensor,
    sample_rate: int,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Say what was found, and what makes it doubtful."""
    only_gain = all(isinstance(stage, Gain) for _, stage in stages_of(plan.effect))
    said = [_explained(score, only_gain=only_gain)]
    if alignment.polarity < 0:
        said.append("The polarity is turned over.")
    if abs(alignment.delay_samples) >= (_SEEN if score.null_db > _ROUGH_DB else _SURE):
        late = "late" if alignment.delay_samples > 0 else "early"
        said.append(
            f"Wet is {abs(alignment.delay_samples):.3f} samples "
            f"({1000 * abs(alignment.delay_samples) / sample_rate:.3f} ms) {late}."
        )
    if score.null_db < min(60.0, score.floor_db - 3):
        said.extend(_remains(processed, wet, sample_rate))
    doubts = []
    hidden = [name for name, known in sure.shown.items() if not known]
    if hidden:
        doubts.append(f"Not identifiable from this material: {', '.join(hidden)}.")
    doubts.extend(_idle(plan, values, processed))
    for name, stage in stages_of(plan.effect):
        offset = isinstance(stage, Compressor) and not sure.shown.get(f"{name}.threshold_db", True)
        if offset and values[name]["ratio"] >= IDLE_RATIO and sure.shown.get(f"{name}.ratio"):
            doubts.append(
                f"Nothing in this excerpt stays under the threshold of {name}: only threshold and "
                "gain together are known, as settings that sound the same."
            )
    if score.null_db < _ROUGH_DB and score.explained < 0.99:
        doubts.append(
            "The chain is a rough model of this processor: read its settings as a direction, "
            "not as the truth."
        )
    return tuple(said), tuple(doubts)


def _explained(score: Score, *, only_gain: bool) -> str:
    exact = score.null_db > _EXACT_DB
    depth = "completely" if exact else f"down to {-score.null_db:.1f} dB"
    if only_gain:
        return f"A gain: subtracted from wet it nulls {depth}."
    if score.gain_only_db > _SAME_DB:
        return f"Beside a gain nothing was changed: subtracted from wet it nulls {depth}."
    share = 100 * score.explained
    digits = 2 if share < 99.99 else 4
    shown = min(share, 99.9999) if share < 100 else share
    return (
        f"This chain explains {shown:.{digits}f} % of the change; "
        f"subtracted from wet it nulls {depth}."
    )


def _remains(processed: Tensor, wet: Tensor, sample_rate: int) -> list[str]:
    """Describe the residual."""
    rest = wet - processed
    if rest.shape[-1] < 4096:
        return []
    found = []
    tail = _tail_seconds(processed, rest, sample_rate)
    if tail is not None:
        found.append(f"What remains looks like a reverb tail of {tail:.1f} s.")
    spectrum = torch.fft.rfft(rest.reshape(-1, rest.shape[-1])).abs().square().sum(0)
    total = float(spectrum.sum())
    if total > 0:
        hz = torch.linspace(0, sample_rate / 2, spectrum.numel(), dtype=torch.float64)
        share = torch.cumsum(spectrum, 0) / total
        low, high = (float(hz[int((share < q).sum())]) for q in (0.1, 0.9))
        found.append(f"Most of what remains lies between {low:.0f} and {high:.0f} Hz.")
    return found


def _tail_seconds(processed: Tensor, rest: Tensor, sample_rate: int) -> float | None:
    """Reverberation time of the response from match to residual, if it decays like a room."""
    size = 1 << (2 * rest.shape[-1] - 1).bit_length()
    a, b = torch.fft.rfft(processed, size), torch.fft.rfft(rest, size)
    power = a.abs().square().sum((0, 1))
    response = torch.fft.irfft((a.conj() * b).sum((0, 1)) / (power + 1e-2 * power.mean()), size)
    length = min(4 * sample_rate, rest.shape[-1] // 2)
    first, before = response[:length].square(), response[-length:].square()
    if float(first.sum()) < 4 * float(before.sum()):
        return None
    decay = (first - before.mean()).flip(0).cumsum(0).flip(0).clamp_min(1e-30)
    db = 10 * torch.log10(decay / decay[0])
    early, late = (int((db > level).sum()) for level in (-3.0, -13.0))
    if late - early < 0.02 * sample_rate or late >= length - 1:
        return None
    return 6 * (late - early) / sample_rate


def _idle(plan: Plan, values: Nested, processed: Tensor) -> list[str]:
    """Tell dynamics that never work in the excerpt."""
    said = []
    peak = 20 * math.log10(max(float(processed.abs().max()), 1e-9))
    for name, stage in stages_of(plan.effect):
        given = values[name]
        if isinstance(stage, Compressor) and given["ratio"] < IDLE_RATIO:
            said.append(f"{name} does not work in this excerpt (ratio {given['ratio']:.2f}).")
        elif isinstance(stage, Compressor) and given["threshold_db"] > peak + 24:
            said.append(f"{name} does not work in this excerpt: nothing passes its threshold.")
        if isinstance(stage, Gate) and given["ratio"] < IDLE_RATIO:
            said.append(f"{name} does not work in this excerpt (ratio {given['ratio']:.2f}).")
    return said
