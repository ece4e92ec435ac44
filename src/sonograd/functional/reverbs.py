"""Impulse responses of rooms."""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._values import check_range
from sonograd.functional.biquads import butterworth
from sonograd.functional.recursion import sosfilt

__all__ = ["noise_reverb_impulse"]


def noise_reverb_impulse(
    t60_s: float,
    *,
    sample_rate: float,
    generator: torch.Generator,
    channels: int = 2,
    duration_s: float | None = None,
    predelay_s: float = 0.0,
    low_cut_hz: float | None = None,
    high_cut_hz: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draw a diffuse room: noise that decays by 60 dB in ``t60_s``, independent per channel.

    Args:
        t60_s: Reverberation time in seconds.
        sample_rate: In Hz.
        generator: Source of the noise; the result lies on its device.
        channels: Number of channels.
        duration_s: Length after the predelay; 1.1 ``t60_s`` if not given.
        predelay_s: Silence before.
        low_cut_hz: Below it the room is damped by 6 dB per octave.
        high_cut_hz: Above it the room is damped by 6 dB per octave.
        dtype: Of the result.

    Returns:
        ``(channels, samples)``, each channel with unit energy; use it with
        :func:`~sonograd.functional.fft_convolve` and ``mode="causal"``.
    """
    check_range(t60_s, "t60_s", above=0)
    check_range(sample_rate, "sample_rate", above=0)
    check_range(predelay_s, "predelay_s", above=0, closed=True)
    duration = 1.1 * t60_s if duration_s is None else duration_s
    samples = round(duration * sample_rate)
    if samples < 1 or channels < 1:
        raise ParameterError(
            f"duration_s is {duration} and channels {channels}; expected at least one of each"
        )
    device = generator.device
    noise = torch.randn(channels, samples, generator=generator, dtype=torch.float32, device=device)
    if device.type != "mps":
        noise = noise.double()
    rate = -3 * math.log(10) / (t60_s * sample_rate)
    impulse = noise * torch.exp(rate * torch.arange(samples, dtype=noise.dtype, device=device))
    if low_cut_hz is not None:
        sos = butterworth(1, low_cut_hz, sample_rate=sample_rate, kind="high_pass")
        impulse = sosfilt(impulse, sos)
    if high_cut_hz is not None:
        impulse = sosfilt(impulse, butterworth(1, high_cut_hz, sample_rate=sample_rate))
    impulse = impulse / torch.linalg.vector_norm(impulse, dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.nn.functional.pad(impulse, (round(predelay_s * sample_rate), 0)).to(dtype)
