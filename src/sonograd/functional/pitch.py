r"""The pitch of a melody, frame by frame.

A. de Cheveigne and H. Kawahara, *YIN, a fundamental frequency estimator for speech and music*,
JASA 111(4), 2002, finds the period as the lag at which a frame differs least from itself; a fit of
harmonics then makes it exact (:func:`~sonograd.functional.refine_frequency`) and lets gradients
through: which lag is the period cannot be differentiated, where exactly it lies can.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import check_range
from sonograd.functional.frequency_estimation import refine_frequency
from sonograd.shapes import check_floating

__all__ = ["PitchTrack", "difference_function", "track_pitch"]

_AT_ONCE = 1 << 15  # samples of frames analyzed together, which stay in the cache
_TIE = 0.07  # depths that differ less are as good
_TRUSTED = 0.04  # how far the fit may lead away from the period that was found


class PitchTrack(NamedTuple):
    """The pitch of a signal over time.

    Attributes:
        frequency_hz: ``(..., frames)``; 0 where there is silence. It is a guess where the
            periodicity is low.
        periodicity: ``(..., frames)``, from 0 for noise and silence to 1 for a perfect tone; above
            0.8 or so there is a pitch.
    """

    frequency_hz: Tensor
    periodicity: Tensor


def track_pitch(
    x: Tensor,
    *,
    sample_rate: float,
    low_hz: float = 60.0,
    high_hz: float = 1200.0,
    hop_length: int = 256,
    frame_length: int | None = None,
    threshold: float = 0.1,
    harmonics: int = 8,
) -> PitchTrack:
    """Follow the pitch of one voice.

    Args:
        x: Signals ``(..., samples)``.
        sample_rate: In Hz.
        low_hz: Lowest pitch.
        high_hz: Highest pitch, below ``sample_rate`` / 4.
        hop_length: Samples between frames. Frame ``k`` is centered on sample ``k * hop_length``, so
            ``Curve(track.frequency_hz, hop_length)`` is a parameter of an instrument.
        frame_length: Samples per frame, at least two periods of ``low_hz``; the next power of two
            above that if not given.
        threshold: How different a frame may be from itself one period later, 0 for equal, 1 for
            unrelated; the first lag below it is taken, or if there is none the first that is
            nearly as good as the best.
        harmonics: Of the fit that refines the pitch; 0 only interpolates between lags.

    Returns:
        ``1 + samples // hop_length`` frames, in the dtype of ``x``; the frequency is differentiable
        in ``x``.
    """
    length = _check(x, sample_rate, low_hz, high_hz, hop_length, frame_length)
    check_range(threshold, "threshold", above=0, below=1)
    samples = x.shape[-1]
    count = 1 + samples // hop_length if samples else 0
    wide = x.float() if x.device.type == "mps" else x.double()
    padded = pad(wide, (length // 2, length))
    frequencies, periodicities = [], []
    step = max(_AT_ONCE // (length * max(x.shape[:-1].numel(), 1)), 1)
    for first in range(0, count, step):
        number = min(step, count - first)
        begin = first * hop_length
        span = padded[..., begin : begin + (number - 1) * hop_length + length]
        frames = span.unfold(-1, length, hop_length)
        lag, periodicity = _find_period(frames, sample_rate, low_hz, high_hz, threshold)
        coarse = sample_rate / lag
        frequency = coarse
        if harmonics:
            for used in sorted({min(2, harmonics), harmonics}):
                start = frequency.detach()
                fitted = refine_frequency(
                    frames, start, sample_rate=sample_rate, harmonics=used, iterations=3
                ).frequency_hz
                near = (fitted / coarse - 1).abs() < _TRUSTED
                frequency = torch.where(near, fitted, coarse)
        silent = frames.detach().abs().amax(-1) == 0
        frequencies.append(torch.where(silent, 0.0, frequency))
        periodicities.append(torch.where(silent, 0.0, periodicity))
    if not frequencies:
        nothing = x.new_zeros(*x.shape[:-1], 0)
        return PitchTrack(nothing, nothing)
    return PitchTrack(
        torch.cat(frequencies, -1).to(x.dtype), torch.cat(periodicities, -1).to(x.dtype)
    )


def difference_function(frames: Tensor, lags: int) -> Tensor:
    r"""Return how much frames differ from themselves, relative to shorter lags (YIN, equation 8).

    .. math:: d'_\tau = \frac{d_\tau}{\frac{1}{\tau} \sum_{j=1}^{\tau} d_j}, \qquad
              d_\tau = \sum_{n=0}^{W-1} (x_n - x_{n+\tau})^2

    Args:
        frames: ``(..., length)``; the window :math:`W` is what ``lags`` leaves of it.
        lags: Largest lag, below ``length``.

    Returns:
        ``(..., lags + 1)``, 1 at lag 0, and everywhere in silence.
    """
    length = frames.shape[-1]
    if not 1 <= lags < length:
        raise ParameterError(f"lags is {lags} for frames of {length}; expected 1 to {length - 1}")
    window = length - lags
    n_fft = 1 << (length + window - 1).bit_length()
    spectrum = torch.fft.rfft(frames[..., :window], n_fft).conj() * torch.fft.rfft(frames, n_fft)
    product = torch.fft.irfft(spectrum, n_fft)[..., : lags + 1]
    energy = pad(frames.square().cumsum(-1), (1, 0))
    energy = energy[..., window:] - energy[..., : lags + 1]
    difference = (energy[..., :1] + energy - 2 * product).clamp_min(0)[..., 1:]
    number = torch.arange(1, lags + 1, dtype=frames.dtype, device=frames.device)
    mean = difference.cumsum(-1) / number
    # What rounding leaves of a silent or constant frame says nothing.
    floor = 1e-12 * energy[..., :1].detach() + 1e-300
    relative = torch.where(mean > floor, difference / mean.clamp_min(floor), 1.0)
    return pad(relative, (1, 0), value=1.0)


def _find_period(
    frames: Tensor, sample_rate: float, low_hz: float, high_hz: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """Period in samples and periodicity of each frame, interpolated by a parabola."""
    longest = min(int(sample_rate / low_hz) + 2, frames.shape[-1] // 2 + 1)
    shortest = max(int(sample_rate / high_hz), 2)
    difference = difference_function(frames, longest)
    with torch.no_grad():
        middle = difference[..., 1:-1]
        valley = (middle <= difference[..., :-2]) & (middle < difference[..., 2:])
        lag = torch.arange(1, longest, device=frames.device)
        allowed = valley & (lag >= shortest)
        masked = torch.where(allowed, middle, 2.0)
        # The first lag below the threshold, or nearly as good as the best: multiples of the period
        # are as deep as the period itself.
        enough = (masked.amin(-1, keepdim=True) + _TIE).clamp_min(threshold)
        first = torch.where(masked < enough, lag, longest).amin(-1)
        chosen = torch.where(first < longest, first, shortest).unsqueeze(-1)
    before, here, after = (
        difference.gather(-1, (chosen + k).clamp(0, longest)).squeeze(-1) for k in (-1, 0, 1)
    )
    bend = before - 2 * here + after
    shift = torch.where(bend > 1e-12, (before - after) / (2 * bend.clamp_min(1e-12)), 0.0)
    shift = shift.clamp(-1, 1)
    depth = here - (before - after) * shift / 4
    return chosen.squeeze(-1) + shift, (1 - depth).clamp(0, 1)


def _check(
    x: Tensor,
    sample_rate: float,
    low_hz: float,
    high_hz: float,
    hop_length: int,
    frame_length: int | None,
) -> int:
    """Return the length of a frame."""
    check_floating(x)
    check_range(sample_rate, "sample_rate", above=0)
    if not x.ndim:
        raise ShapeError("x is a scalar; expected (..., samples)")
    if not 0 < low_hz < high_hz <= sample_rate / 4:
        raise ParameterError(
            f"low_hz is {low_hz} and high_hz {high_hz}; expected 0 < low_hz < high_hz <= "
            f"{sample_rate / 4}"
        )
    if hop_length < 1:
        raise ParameterError(f"hop_length is {hop_length}; expected at least 1")
    needed = 2 * (int(sample_rate / low_hz) + 2)
    if frame_length is None:
        return 1 << (needed - 1).bit_length()
    if frame_length < needed:
        raise ParameterError(
            f"frame_length is {frame_length}; two periods of low_hz = {low_hz} need {needed}. "
            "Raise one of them."
        )
    return frame_length
