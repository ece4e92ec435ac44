r"""Plucked strings: a delay loop that loses its high frequencies."""

import math

import numpy as np
import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._values import check_range

__all__ = ["plucked_string"]

_ENOUGH = 160  # samples per step of the loop above which the call overhead is small


def plucked_string(
    frequency_hz: float,
    samples: int,
    *,
    sample_rate: float,
    generator: torch.Generator,
    decay_s: float = 3.0,
    damping: float = 0.3,
    brightness: float = 0.7,
    pick_position: float = 0.15,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Pluck a string (K. Karplus and A. Strong, *Computer Music Journal* 7(2), 1983).

    One period of noise runs through a loop of ``sample_rate / frequency_hz`` samples: a whole
    delay, the symmetric low-pass :math:`(d/4,\ 1 - d/2,\ d/4)` twice, a third-order Lagrange
    interpolator for the fraction (D. Jaffe and J. Smith, ibid., same issue, tune the loop likewise)
    and a gain that makes the fundamental fall by 60 dB in ``decay_s``.

    Args:
        frequency_hz: Fundamental, up to ``sample_rate`` / 8.
        samples: Length of the result.
        sample_rate: In Hz.
        generator: Source of the noise, on the CPU.
        decay_s: Time in which the fundamental falls by 60 dB.
        damping: ``d`` in [0, 1]: how much faster the high partials fall. It is reduced where the
            fundamental of a high string would fall sooner than ``decay_s``.
        brightness: In (0, 1]: 1 plucks with white noise, less with a one-pole low-pass.
        pick_position: In (0, 1) of the length; partials with a node there are missing.
        dtype: Of the result, computed in float64.

    Returns:
        ``(samples,)``; the plucked shape has peak 1.

    Raises:
        ParameterError: A value is out of range.
    """
    check_range(sample_rate, "sample_rate", above=0)
    check_range(frequency_hz, "frequency_hz", above=0, below=sample_rate / 8)
    check_range(decay_s, "decay_s", above=0)
    check_range(damping, "damping", above=0, below=1, closed=True)
    check_range(brightness, "brightness", above=0, below=1 + 1e-9)
    check_range(pick_position, "pick_position", above=0, below=1)
    if samples < 0:
        raise ParameterError(f"samples is {samples}; expected at least 0")
    period = sample_rate / frequency_hz
    shape = _plucked_shape(int(period), brightness, pick_position, generator)
    excitation = np.zeros(samples)
    excitation[: len(shape)] = shape[:samples]
    delay = math.floor(period - 3)
    taps = _loop_filter(period - delay - 2, frequency_hz, sample_rate, decay_s, damping)
    return torch.from_numpy(_resonate(excitation, delay, taps)).to(dtype)


def _plucked_shape(
    length: int, brightness: float, pick_position: float, generator: torch.Generator
) -> np.ndarray:
    """One period of noise, filtered around the circle."""
    noise = torch.rand(length, generator=generator, dtype=torch.float64) * 2 - 1
    turn = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    low_pass = brightness / (1 - (1 - brightness) * turn)
    comb = 1 - np.exp(-2j * np.pi * np.arange(length // 2 + 1) * pick_position)
    shape: np.ndarray = np.fft.irfft(np.fft.rfft(noise.numpy()) * low_pass * comb, length)
    return shape / max(float(np.abs(shape).max()), 1e-12)


def _loop_filter(
    fraction: float, frequency_hz: float, sample_rate: float, decay_s: float, damping: float
) -> np.ndarray:
    """Eight taps with a delay of ``2 + fraction`` samples, ``fraction`` in [1, 2)."""
    lagrange = np.array(
        [math.prod((fraction - j) / (k - j) for j in range(4) if j != k) for k in range(4)]
    )
    turn = np.exp(-2j * np.pi * frequency_hz / sample_rate * np.arange(4))
    wanted = 10 ** (-3 / (decay_s * frequency_hz))
    # What the low-pass may take from the fundamental; the gain takes the rest.
    spare = 1 - math.sqrt(min(wanted / abs(lagrange @ turn), 1.0))
    damping = min(damping, 2 * spare / (1 - turn[1].real))
    smooth = np.array([damping / 4, 1 - damping / 2, damping / 4])
    taps: np.ndarray = np.convolve(np.convolve(smooth, smooth), lagrange)
    fundamental = abs(taps @ turn[1] ** np.arange(len(taps)))
    # The loop must lose energy at 0 Hz too, where the low-pass does not help.
    gained: np.ndarray = min(wanted / fundamental, 1 - 1e-5) * taps
    return gained


def _resonate(excitation: np.ndarray, delay: int, taps: np.ndarray) -> np.ndarray:
    """``y[n] = excitation[n] + sum_k taps[k] y[n - delay - k]``, ``delay`` samples at a time.

    A short loop is first unrolled: one turn applied twice is a loop of twice the delay.
    """
    samples = len(excitation)
    while delay < _ENOUGH and delay < samples:
        once = np.convolve(excitation, taps)[: samples - delay]
        excitation = excitation.copy()
        excitation[delay:] += once
        taps = np.convolve(taps, taps)
        delay *= 2
    reach = delay + len(taps) - 1
    y = np.zeros(reach + samples)
    y[reach:] = excitation
    for begin in range(0, samples, delay):
        past = y[begin : begin + reach]
        now = y[reach + begin : reach + begin + delay]
        now += np.convolve(past, taps, "valid")[: len(now)]
    return y[reach:]
