"""Least squares where noise is neither white nor even, as that of codecs.

A codec leaves noise that follows the spectrum and the level of the music. Plain least squares then
listen to the loudest noise. Here each frequency and each moment counts as much as the noise in it
is small, which is what maximum likelihood asks for. Where a codec drops sound, what remains is no
noise but the sound itself, and it would be taken for slow attacks: such frequencies hardly count.
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
_FAITHFUL = 16  # power of the share of a frequency that is kept, by which it counts
_BLOCK = 4096  # samples beyond which noise of a codec is independent
_LOSSY = frozenset({"aac", "mp3", "mp3float", "opus", "vorbis"})
_MATCH_DB = 30.0  # null depth from which on what remains is the codec's
_LOST = 0.9  # coherence of a match with wet below which a band is hidden
_SHARE = 0.01  # of all bands, that have to be hidden


def looks_like_noise(fit: Fit, problem: Problem, sample_rate: float, codec: str = "") -> bool:
    """Tell whether a chain leaves noise that hides some frequencies of its own output.

    A chain of the wrong kind leaves what is as far below wet at all frequencies; a codec spends no
    bits where nobody listens. One of many bits does not show that; where wet was read from a file
    and there is a match, its name tells.
    """
    if not _LOUD_DB < fit.solution.null_db < _QUIET_DB:
        return False
    match = fit.match(problem)
    wet = problem.target(fit.solution.delay)
    if wet.shape[-1] < 16 * 2048:
        return False
    if codec in _LOSSY and fit.solution.null_db > _MATCH_DB:
        return True
    found = band_response(match, wet, sample_rate=sample_rate, bands=100, size=4096)
    return float((found.coherence < _LOST).double().mean()) > _SHARE


def fit_under_noise(fit: Fit, problem: Problem, *, iterations: int = 10) -> Fit:
    """Fit again, weighted by what the fit leaves.

    The null depth of the result is that of the plain residual; its standard errors are those of
    the weighted one.
    """
    delay = fit.solution.delay
    match = fit.match(problem)
    weighted = _weighted(problem, match, problem.target(delay))
    found = solve(
        fit.plan,
        weighted,
        fit.solution.theta,
        delay,
        free_delay=fit.solution.normal.shape[0] > len(fit.plan),
        iterations=iterations,
        tolerance=1e-6,
        prior=prior_of(fit.plan),
        damping=1e-4,
    )
    found = replace(found, normal=_of_blocks(fit, weighted, found))
    return replace(fit, solution=_plain(fit, problem, found))


def _weighted(problem: Problem, match: Tensor, wet: Tensor) -> Problem:
    """Measure the noise: its spectrum, then its level over time."""
    rest = wet - match
    window = torch.hann_window(_SIZE, dtype=rest.dtype)
    spectra = [
        torch.fft.rfft(x.reshape(-1, x.shape[-1]).unfold(-1, _SIZE, _SIZE // 2) * window)
        for x in (match, wet, rest)
    ]
    sound, power = (spectra[k].abs().square().mean((0, 1)) for k in (0, 2))
    kept = (spectra[0].conj() * spectra[1]).real.mean((0, 1)) / sound.clamp_min(1e-300)
    answer = (power + _FLOOR * power.max()).rsqrt() * kept.clamp(0, 1) ** _FAITHFUL
    kernel = torch.fft.irfft(answer.to(torch.complex128), _SIZE).roll(_SIZE // 2) * window
    white = fft_convolve(rest, kernel, "same").square()
    level = avg_pool1d(white.flatten(0, 1), _SMOOTH, 1, _SMOOTH // 2).view_as(white)
    weight = (level + 1e-3 * level.mean()).rsqrt()
    return replace(problem, kernel=kernel, weight=weight)


def _of_blocks(fit: Fit, problem: Problem, found: Solution) -> Tensor:
    """Normal equations whose inverse is the covariance, from how much blocks disagree.

    Noise of a codec is not independent from sample to sample, only from block to block.
    """
    free = found.normal.shape[0] > len(fit.plan)
    dual = fit.plan.linearize(problem.dry, found.theta)
    rest = problem.counted(dual.value) - problem.target(found.delay)
    rows = [problem.counted(t).double() for t in dual.tangent]
    if free:
        rows.append(-problem.target_slope(found.delay))
    length = rest.shape[-1] // _BLOCK * _BLOCK
    pulls = torch.stack(
        [(row * rest)[..., :length].unflatten(-1, (-1, _BLOCK)).sum((0, 1, 3)) for row in rows]
    )
    size = found.normal.shape[0]
    if pulls.shape[1] < 4 * size:
        return found.normal
    scale = found.normal.diagonal().clamp_min(1e-300).rsqrt()
    normal = found.normal * scale[:, None] * scale
    spread = (pulls @ pulls.mT) * scale[:, None] * scale
    noise = found.cost / max(problem.count - size, 1)
    # The covariance is H^-1 S H^-1, so what has to be inverted to get it is H S^-1 H.
    spread = spread + 1e-9 * torch.eye(size, dtype=spread.dtype) * spread.diagonal().mean()
    inside: Tensor = normal @ torch.linalg.solve(spread, normal)
    return noise * inside / scale[:, None] / scale


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
