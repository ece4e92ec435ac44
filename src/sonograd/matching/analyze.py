"""What can be measured without a model: transfer function, levels, gain over time, clipping."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sonograd.effects import Chain, Compressor, Gain, Gate, ParametricEQ, TwoStageLimiter
from sonograd.functional.biquads import frequency_response
from sonograd.functional.dynamics import compressor_gain_db, gate_gain_db
from sonograd.matching.equalize import band_response
from sonograd.matching.result import GainTrace, StaticCurve, TransferFunction
from sonograd.matching.stages import run_stage, stages_of

__all__ = ["clipped_samples", "gain_trace", "static_curve", "transfer_function"]

_WINDOW_S = 0.02
_FLOOR_DB = -100.0
_CLIPPED = 10  # samples at the peak that no sound has by chance
_STEP = 1e-4  # by which ceilings differ in integers, and more
_FULL = 0.99  # of full scale, where three in a row are none either
Nested = Mapping[str, Mapping[str, float]]


def transfer_function(
    dry: Tensor, wet: Tensor, fitted: Tensor, chain: Chain, values: Nested, *, sample_rate: int
) -> TransferFunction:
    """Measure the response from dry to wet and to the match, in the same way.

    Args:
        dry: ``(segments, channels, samples)``.
        wet: As ``dry``, aligned.
        fitted: As ``dry``.
        chain: Its equalizers give the designed response.
        values: Of the chain.
        sample_rate: In Hz.
    """
    measured = band_response(dry, wet, sample_rate=sample_rate, bands=200)
    match = band_response(dry, fitted, sample_rate=sample_rate, bands=200)
    designed = None
    for name, stage in stages_of(chain):
        if isinstance(stage, ParametricEQ):
            given = {k: torch.full((1,), v, dtype=torch.float64) for k, v in values[name].items()}
            sections = stage.sections(given).reshape(-1, 6)
            response = frequency_response(
                sections, measured.frequencies_hz, sample_rate=sample_rate
            )
            designed = response if designed is None else designed * response
    return TransferFunction(
        measured.frequencies_hz, measured.response, measured.coherence, match.response, designed
    )


def static_curve(
    dry: Tensor, wet: Tensor, fitted: Tensor, chain: Chain, values: Nested, *, sample_rate: int
) -> StaticCurve:
    """Measure levels in windows of 20 ms, at most 2000 of them."""
    size = max(1, round(_WINDOW_S * sample_rate))
    levels = [_levels(v, size) for v in (dry, wet, fitted)]
    loud = levels[0] > _FLOOR_DB
    kept = [v[loud] for v in levels]
    step = max(1, math.ceil(kept[0].numel() / 2000))
    inputs, outputs, matches = (v[::step] for v in kept)
    grid, curve = _drawn_curve(chain, values)
    return StaticCurve(inputs, outputs, matches, grid, curve)


def _levels(x: Tensor, size: int) -> Tensor:
    length = x.shape[-1] // size * size
    if not length:
        return 10 * torch.log10(x.square().mean().reshape(1) + 1e-15)
    power = x[..., :length].unflatten(-1, (-1, size)).square().mean((1, -1))
    return (10 * torch.log10(power + 1e-15)).reshape(-1)


def _drawn_curve(chain: Chain, values: Nested) -> tuple[Tensor, Tensor]:
    """Static curve of the dynamics of a chain, gains included."""
    grid = torch.linspace(-80.0, 0.0, 161, dtype=torch.float64)
    level, drawn = grid.clone(), False
    for name, stage in stages_of(chain):
        given = values[name]
        if isinstance(stage, Compressor):
            curve = {k: given[k] for k in ("threshold_db", "ratio", "knee_db")}
            level = level + compressor_gain_db(level, **curve) + given["makeup_db"]
            drawn = True
        elif isinstance(stage, Gate):
            curve = {k: given[k] for k in ("threshold_db", "ratio")}
            level = level + gate_gain_db(level, **curve).clamp_min(-given["range_db"])
            drawn = True
        elif isinstance(stage, TwoStageLimiter):
            first = {"threshold_db": -10.0, "ratio": 4.0}
            level = level + compressor_gain_db(level, **first)
            second = {"threshold_db": given["threshold_db"], "ratio": 1000.0}
            level = level + compressor_gain_db(level, **second)
            level = (level + 3.75 - given["threshold_db"]).clamp_max(0)
            drawn = True
        elif isinstance(stage, Gain):
            level = level + given["gain_db"]
    return (grid, level) if drawn else (grid[:0], grid[:0])


def gain_trace(
    dry: Tensor, wet: Tensor, chain: Chain, values: Nested, *, starts: list[int], sample_rate: int
) -> GainTrace | None:
    """Follow the gain of the first dynamics stage over time.

    Args:
        dry: ``(segments, channels, samples)``.
        wet: Aligned with it.
        chain: The match.
        values: Its values.
        starts: First sample of each segment in the dry signal.
        sample_rate: In Hz.
    """
    names = [
        name
        for name, stage in stages_of(chain)
        if isinstance(stage, (Compressor, Gate, TwoStageLimiter))
    ]
    if not names:
        return None
    x, entering, leaving = dry, dry, dry
    for name, stage in stages_of(chain):
        if name == names[0]:
            entering = x
        x = run_stage(stage, x, values[name])
        if name == names[0]:
            leaving = x
    total = x
    size = max(1, dry.shape[0] * dry.shape[-1] // 2000, round(0.002 * sample_rate))
    before, after, match, truth = (_levels(v, size) for v in (entering, leaving, total, wet))
    given = values[names[0]]
    static = given.get("makeup_db", 0.0)
    if isinstance(chain.stage(names[0]), TwoStageLimiter):
        static = 3.75 - given["threshold_db"]
    fitted = after - before - static
    # What wet differs from the match by is the gain that the match has not.
    measured = fitted + (truth - match)
    silent = (before < _FLOOR_DB + 20) | (truth < _FLOOR_DB)
    measured = torch.where(silent, torch.full_like(measured, math.nan), measured)
    windows = dry.shape[-1] // size
    time = torch.cat(
        [(start + size * (torch.arange(windows) + 0.5)) / sample_rate for start in starts]
    )
    return GainTrace(time.double(), fitted, measured, names[0])


def clipped_samples(wet: Tensor) -> Tensor:
    """Find samples at the highest or the lowest value of their channel, where that is no chance.

    There are many of them then, or several in a row at full scale.

    Both ceilings are looked at apart: integers reach one step further down than up.

    Args:
        wet: ``(segments, channels, samples)``.

    Returns:
        A mask of the same shape, True where it is clipped.
    """
    sides = (wet, -wet)
    peaks = [side.amax((0, 2), keepdim=True) for side in sides]
    flat = [
        (side >= peak * (1 - 1e-6)) & (peak > 1e-3) for side, peak in zip(sides, peaks, strict=True)
    ]
    counts = [at_peak.sum((0, 2), keepdim=True) for at_peak in flat]
    alike = (peaks[0] - peaks[1]).abs() <= _STEP  # then it is one ceiling
    clipped = torch.zeros_like(wet, dtype=torch.bool)
    for k, (at_peak, peak) in enumerate(zip(flat, peaks, strict=True)):
        rows = at_peak[..., :-2] & at_peak[..., 1:-1] & at_peak[..., 2:] & (peak > _FULL)
        many = counts[k] + counts[1 - k] * alike >= _CLIPPED
        clipped |= at_peak & (many | rows.any(2, keepdim=True).any(0, keepdim=True))
    return clipped
