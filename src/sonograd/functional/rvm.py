"""Relative volume of mel spectrograms, as audiocraft's RelativeVolumeMel defines it."""

import math
from typing import TypeVar

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.spectral import stft
from sonograd.functional.windows import hann

__all__ = ["db_to_scale", "relative_volume_mel", "scale_to_db", "volume_mel", "volume_mel_filters"]

Volume = TypeVar("Volume", float, Tensor)

_ERROR_FLOOR_DB = -120.0


def db_to_scale(volume: Volume) -> Volume:
    """Convert decibels to a factor of amplitude, :math:`10^{volume / 20}`.

    >>> db_to_scale(-20.0)
    0.1
    """
    scale: Volume = 10 ** (volume / 20)
    return scale


def scale_to_db(scale: Tensor, min_volume: float = -120) -> Tensor:
    """Convert a factor of amplitude to decibels, at least ``min_volume``.

    >>> scale_to_db(torch.tensor([1.0, 0.1, 0.0]))
    tensor([   0.,  -20., -120.])
    """
    return 20 * torch.log10(scale.clamp(min=db_to_scale(min_volume)))


def volume_mel_filters(*, sample_rate: int = 24_000, n_mels: int = 80, n_fft: int = 512) -> Tensor:
    """Design the triangular mel filters that the measure is defined with.

    HTK's mel scale, from 0 to ``sample_rate // 2`` Hz, peaks of one. They are designed in float32
    on purpose: the published values of the measure depend on that rounding. At high sample rates
    or for many bands some filters fall between two bins and are zero.

    Returns:
        float32, ``(n_fft // 2 + 1, n_mels)``.

    Raises:
        ParameterError: A number is below one.
    """
    if min(sample_rate, n_mels) < 1 or n_fft < 2:
        raise ParameterError(
            f"sample_rate is {sample_rate}, n_mels {n_mels} and n_fft {n_fft}; expected positive "
            "whole numbers, and n_fft at least 2"
        )
    nyquist = sample_rate // 2
    bins = torch.linspace(0, nyquist, n_fft // 2 + 1)
    highest = 2595.0 * math.log10(1.0 + float(nyquist) / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, highest, n_mels + 2) / 2595.0) - 1.0)
    width = edges.diff()
    distance = edges[None, :] - bins[:, None]
    rising, falling = -distance[:, :-2] / width[:-1], distance[:, 2:] / width[1:]
    return torch.minimum(rising, falling).clamp(min=0.0)


def volume_mel(x: Tensor, *, filters: Tensor, n_fft: int = 512, hop_length: int = 128) -> Tensor:
    """Mel spectrogram of amplitudes: the root of the power in each band.

    The Hann window has unit energy.

    Args:
        x: ``(..., samples)``, more than ``n_fft // 2`` samples.
        filters: See :func:`volume_mel_filters`.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.

    Returns:
        ``(..., n_mels, frames)`` with ``1 + samples // hop_length`` frames.
    """
    window = hann(n_fft, dtype=x.dtype, device=x.device)
    window = window / window.square().sum().sqrt()
    spectrum = stft(x, n_fft=n_fft, hop_length=hop_length, window=window)
    power = torch.view_as_real(spectrum.mT).square().sum(-1)
    return (power @ filters.to(power)).sqrt().mT


def relative_volume_mel(
    estimate: Tensor,
    reference: Tensor,
    *,
    filters: Tensor,
    n_fft: int = 512,
    hop_length: int = 128,
    min_relative_volume: float = -25,
    max_relative_volume: float = 25,
    min_activity_volume: float = -25,
) -> Tensor:
    r"""Volume of the error relative to that of the reference, per band and frame, in dB.

    With the mel spectrograms :math:`z` of :func:`volume_mel`,

    .. math::
        20 \log_{10} \max(|z - \hat z|, 10^{-6}) - 20 \log_{10} \max(z, 10^{A / 20})

    clamped to the range of relative volumes; lower is better. San Roman et al., *From discrete
    tokens to high-fidelity audio using multi-band diffusion*, arXiv:2308.02560. The class
    :class:`~sonograd.metrics.RelativeVolumeMel` normalizes the level and aggregates.

    Args:
        estimate: ``(..., samples)``, divided by the level of the reference.
        reference: Same shape, divided by the same level.
        filters: See :func:`volume_mel_filters`.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        min_relative_volume: Smallest result, which a perfect estimate gives.
        max_relative_volume: Largest result.
        min_activity_volume: :math:`A`; a quieter reference counts as this loud.

    Returns:
        ``(..., n_mels, frames)``.
    """
    z_reference, z_estimate = (
        volume_mel(x, filters=filters, n_fft=n_fft, hop_length=hop_length)
        for x in (reference, estimate)
    )
    error = scale_to_db((z_reference - z_estimate).abs(), _ERROR_FLOOR_DB)
    level = scale_to_db(z_reference, min_activity_volume)
    return (error - level).clamp(min_relative_volume, max_relative_volume)
