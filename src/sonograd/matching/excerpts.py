"""Which parts of long recordings are fitted."""

import math

import torch
from torch import Tensor

from sonograd.errors import AudioError
from sonograd.matching.align import REACH
from sonograd.matching.result import Excerpt
from sonograd.matching.solve import Problem
from sonograd.matching.sources import Source, Survey

__all__ = ["choose_excerpts", "near", "read_problem", "shorter", "survey"]

_BLOCKS = 400  # that are listened to in a long recording
_BLOCK_S = 0.5
_SILENT_DB = -90.0
_SETTLE = 1 << 14  # samples after which filters and followers have settled


def survey(source: Source) -> Survey:
    """Listen to blocks all over a recording, once.

    Returns:
        Their first samples, their levels in dB, and how far their level moves inside, in dB.
    """
    if source.survey is None:
        source.survey = _listen(source)
    return source.survey


def _listen(source: Source) -> Survey:
    size = max(1, round(_BLOCK_S * source.sample_rate))
    count = max(1, source.samples // size)
    chosen = torch.linspace(0, count - 1, min(count, _BLOCKS)).round().long().unique()
    starts = chosen * size
    levels, moves = [], []
    for start in starts.tolist():
        x = source.read(start, size)
        parts = x.square().mean(0)
        parts = parts[: parts.numel() // 10 * 10].reshape(10, -1).mean(1) if size >= 10 else parts
        db = 10 * torch.log10(parts + 1e-12)
        levels.append(float(10 * torch.log10(parts.mean() + 1e-12)))
        moves.append(float(db.max() - db.min()))
    return starts, torch.tensor(levels), torch.tensor(moves)


def choose_excerpts(
    dry: Source,
    wet: Source,
    delay: int,
    *,
    total_s: float,
    context_s: float = 1.5,
    from_start: bool = False,
) -> tuple[Excerpt, ...]:
    """Choose what is fitted: all of a short recording, else a loud, a moving and a quiet part.

    ``from_start`` takes one part that begins where the recording does.

    Raises:
        AudioError: If both overlap in less than 50 ms, or there is nothing but silence.
    """
    rate = dry.sample_rate
    first, last = max(0, -delay), min(dry.samples, wet.samples - delay)
    if last - first < 0.05 * rate:
        raise AudioError(
            f"{dry.name} and {wet.name} overlap in {max(last - first, 0) / rate:.3f} s; "
            "expected at least 0.05 s."
        )
    context = min(round(context_s * rate), max(0, last - first - round(total_s * rate)) // 2)
    if last - first <= 1.25 * total_s * rate:
        return (Excerpt(first, last - first, 0),)
    if from_start:
        length = _until_heard(dry, first, last) + round(total_s * rate)
        return (Excerpt(first, min(length, last - first), 0),)
    part = round(total_s * rate / 3)
    starts, levels, moves = survey(dry)
    lowest, highest = first + context, last - part
    inside = (starts >= lowest) & (starts <= highest) & (levels > _SILENT_DB)
    starts, levels, moves = starts[inside], levels[inside], moves[inside]
    if not starts.numel():
        raise AudioError(f"{dry.name} is silent where it overlaps {wet.name}; expected sound.")
    scores = (levels, moves + 0.2 * levels, -(levels - levels.quantile(0.25)).abs())
    taken: list[int] = []
    for score in scores:
        free = torch.ones_like(starts, dtype=torch.bool)
        for other in taken:
            free &= (starts - other).abs() >= part
        if not bool(free.any()):
            continue
        place = torch.where(free, score, torch.full_like(score, -math.inf)).argmax()
        taken.append(int(starts[place]))
    return tuple(Excerpt(start, part, context) for start in sorted(taken))


def _until_heard(dry: Source, first: int, last: int) -> int:
    """Count the samples of silence at the start, at most a minute of them."""
    most = min(last - first, 60 * dry.sample_rate)
    level = dry.read(first, most).abs().amax(0)
    heard = (level > 0.01 * float(level.max())).nonzero()
    return int(heard[0, 0]) if heard.numel() else 0


def read_problem(dry: Source, wet: Source, delay: int, excerpts: tuple[Excerpt, ...]) -> Problem:
    """Read excerpts of equal length; channels are made equal."""
    context = excerpts[0].context
    rows = [
        (
            dry.read(e.start - context, context + e.samples),
            wet.read(e.start - context + delay - REACH, context + e.samples + 2 * REACH),
        )
        for e in excerpts
    ]
    x, y = (torch.stack(v) for v in zip(*rows, strict=True))
    channels = max(x.shape[1], y.shape[1])
    if x.shape[1] != channels:
        x = x.expand(-1, channels, -1).contiguous() if x.shape[1] == 1 else x
    if y.shape[1] != channels:
        x = x.mean(1, keepdim=True) if y.shape[1] == 1 else x
    return Problem(x, y, context)


def shorter(problem: Problem, samples: int, *, from_start: bool = False) -> Problem:
    """Keep the loudest and most moving stretch of ``samples`` samples, for first fits.

    All that there is before it becomes its context.
    """
    if from_start:
        level = problem.dry[0].abs().amax(0)
        silent = int((level > 0.01 * float(level.max())).nonzero()[0, 0])
        end = min(silent + samples, problem.dry.shape[-1])
        mask = None if problem.mask is None else problem.mask[:1, :, : end - problem.context]
        return Problem(
            problem.dry[:1, :, :end], problem.wet[:1, :, : end + 2 * REACH], problem.context, mask
        )
    if problem.dry.shape[-1] - problem.context <= 1.3 * samples:
        return Problem(problem.dry[:1], problem.wet[:1], problem.context, _first(problem.mask))
    hop = samples // 2
    best, score = (0, 0), -math.inf
    for segment in range(problem.dry.shape[0]):
        power = problem.dry[segment].square().mean(0)
        for begin in range(problem.context, power.numel() - samples + 1, hop):
            parts = power[begin : begin + samples]
            levels = 10 * torch.log10(parts[: samples // 20 * 20].reshape(20, -1).mean(1) + 1e-9)
            spread = float(levels.quantile(0.9) - levels.quantile(0.1))
            value = float(levels.quantile(0.8)) + 0.5 * min(spread, 30.0)
            if value > score:
                best, score = (segment, begin), value
    segment, begin = best
    context = begin
    end = begin + samples
    part = slice(segment, segment + 1)
    mask = None
    if problem.mask is not None:
        # The mask covers what counts only: widen it to the whole segment first.
        head = torch.ones_like(problem.mask[..., :1]).expand(-1, -1, problem.context)
        mask = torch.cat([head, problem.mask], dim=-1)[part, :, begin:end]
    return Problem(
        problem.dry[part, :, begin - context : end],
        problem.wet[part, :, begin - context : end + 2 * REACH],
        context,
        mask,
    )


def near(problem: Problem) -> Problem:
    """Keep as much context as matters to chains that do not linger."""
    return problem.after(max(_SETTLE, (problem.dry.shape[-1] - problem.context) // 6))


def _first(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[:1]
