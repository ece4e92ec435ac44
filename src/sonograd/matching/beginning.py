"""Pairs cut out of something longer: at their beginning, effects had been at work before.

Followers of levels, delays and filters start from rest here, and did not there. What they still
remembered is over after a while; until then a match would be fitted to something that dry does not
hold.
"""

from sonograd.effects import Gain
from sonograd.matching.chains import lingers
from sonograd.matching.fitting import Fit, polish
from sonograd.matching.solve import Problem
from sonograd.matching.stages import stages_of

__all__ = ["remembers", "without_beginning"]

_BLOCK = 1024
_HEAD = 8  # blocks that are looked at
_LOUDER = 1.5  # energy of what is left there, over that of what is left in the middle of all blocks
_EXACT_DB = 100.0  # null depth that leaves nothing to remember
_BETTER_DB = 3.0  # of null depth, that leaving out has to gain each time
_FIRST_S = 0.4  # that are left out, and then twice as much, as long as this helps
_MOST = 1 / 3  # of what there is, that may be left out


def remembers(fit: Fit, problem: Problem) -> bool:
    """Tell whether what a fit leaves is mostly at the beginning, as if cut out of something."""
    exact = fit.solution.null_db > _EXACT_DB
    if (
        problem.context
        or exact
        or all(isinstance(stage, Gain) for _, stage in stages_of(fit.chain))
    ):
        return False
    rest = (fit.match(problem) - problem.target(fit.solution.delay))[0]
    power = rest.unfold(-1, _BLOCK, _BLOCK).square().mean((0, 2))
    if power.numel() < 4 * _HEAD:
        return False
    return bool(power[:_HEAD].mean() > _LOUDER * power[_HEAD:].median())


def without_beginning(fit: Fit, problem: Problem, sample_rate: int) -> tuple[Fit, int]:
    """Fit again without the first moments, if that explains the others much better.

    Args:
        fit: Where to start.
        problem: With nothing before what counts.
        sample_rate: Of both, in Hz.

    Returns:
        The fit, and how many samples were left out; the same fit and 0 if nothing was gained.
    """
    best, left_out = fit, 0
    most = round(_MOST * problem.dry.shape[-1])
    extra = most if lingers(fit.chain) else min(round(_FIRST_S * sample_rate), most)
    while left_out < extra <= most:
        found = polish(best, problem.later(extra), free_delay=True)
        if found.solution.null_db < best.solution.null_db + _BETTER_DB:
            break
        best, left_out = found, extra
        extra *= 2
    return best, left_out
