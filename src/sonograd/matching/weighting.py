"""Least squares where noise is neither white nor even, as that of codecs.

A codec leaves noise that follows the spectrum and the level of the music. Plain least squares then
listen to the loudest noise. Here each frequency and each moment counts as much as the noise in it
is small, which is what maximum likelihood asks for, and what remains is measured anew after a
first fit.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from sonograd.functional.convolution import fft_convolve
from sonograd.matching.equalize import band_response
from sonograd.matching.fitting import Fit, prior_of
from sonograd.matching.solve import Problem, Solution, cost_at, solve

__all__ = ["fit_under_noise", "looks_like_noise"]

_SIZE = 512
_SMOOTH = 1025  # samples over which the level of noise is taken
_FLOOR = 1e-4  # of the largest power, below which noise is not followed
_QUIET_DB, _LOUD_DB = 50.0, 8.0  # null depths between which noise matters and a match is one
_LOST = 0.9  # coherence of a match with wet below which a band is hidden
_SHARE = 0.01  # of all bands, that have to be hidden


def looks_like_noise(fit: Fit, problem: Problem, sample_rate: float) -> bool:
    """Tell whether a chain leaves noise that hides some frequencies of its own output.

    A chain of the wrong kind leaves what is as far below wet at all frequencies; a codec spends no
    bits where nobody listens.
    """
    if not _LOUD_DB < fit.solution.null_db < _QUIET_DB:
        return False
    match = problem.counted(fit.plan.run(problem.dry, fit.plan.values(fit.solution.theta)))
    wet = problem.target(fit.solution.delay)[0]
    if wet.shape[-1] < 16 * 2048:
        return False
    found = band_response(match, wet, sample_rate=sample_rate, bands=100, size=4096)
    return float((found.coherence < _LOST).double().mean()) > _SHARE


def fit_under_noise(fit: Fit, problem: Problem, *, iterations: int = 10) -> Fit:
    """Fit again, weighted by what the fit leaves.

    The null depth of the result is that of the plain residual; its standard errors are those of
    the weighted one.
    """
    weighted = _weighted(problem, _residual(fit, problem))
    found = solve(
        fit.plan,
        weighted,
        fit.solution.theta,
        fit.solution.delay,
        free_delay=fit.solution.normal.shape[0] > len(fit.plan),
        iterations=iterations,
        tolerance=1e-6,
        prior=prior_of(fit.plan),
        damping=1e-4,
    )
    return replace(fit, solution=_plain(fit, problem, found))


def _residual(fit: Fit, problem: Problem) -> Tensor:
    match = fit.plan.run(problem.dry, fit.plan.values(fit.solution.theta))
    return problem.target(fit.solution.delay)[0] - problem.counted(match)


def _weighted(problem: Problem, rest: Tensor) -> Problem:
    """Measure the noise: its spectrum, then its level over time."""
    window = torch.hann_window(_SIZE, dtype=rest.dtype)
    frames = rest.reshape(-1, rest.shape[-1]).unfold(-1, _SIZE, _SIZE // 2)
    power = torch.fft.rfft(frames * window).abs().square().mean((0, 1))
    answer = (power + _FLOOR * power.max()).rsqrt()
    kernel = torch.fft.irfft(answer.to(torch.complex128), _SIZE).roll(_SIZE // 2) * window
    white = fft_convolve(rest, kernel, "same").square()
    level = avg_pool1d(white.flatten(0, 1), _SMOOTH, 1, _SMOOTH // 2).view_as(white)
    weight = (level + 1e-3 * level.mean()).rsqrt()
    return replace(problem, kernel=kernel, weight=weight)


def _plain(fit: Fit, problem: Problem, found: Solution) -> Solution:
    """Give a weighted solution the residual of a plain one, and keep its standard errors."""
    cost = cost_at(fit.plan, problem, found.theta, found.delay)
    return replace(
        fit.solution,
        theta=found.theta,
        delay=found.delay,
        cost=cost,
        normal=found.normal * (cost / max(found.cost, 1e-300)),
        converged=found.converged,
    )
