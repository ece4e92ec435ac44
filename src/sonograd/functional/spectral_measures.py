"""Measures that compare spectrograms: exact, per item, without gradients worth having."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError
from sonograd.functional._pairs import Lengths, map_items, result_dtype, wide
from sonograd.functional.filterbanks import mel_filterbank
from sonograd.functional.spectral import PadMode, stft
from sonograd.functional.stft_distances import Resolution, stft_distance
from sonograd.functional.windows import hann

__all__ = [
    "BleedlessFullness",
    "bleedless_fullness",
    "l1_frequency",
    "log_spectral_distance",
    "multi_resolution_stft_distance",
]

_RESOLUTIONS = (Resolution(1024, 120, 600), Resolution(2048, 240, 1200), Resolution(512, 50, 240))
_FLOOR = 1e-4  # amplitude


class BleedlessFullness(NamedTuple):
    """Two scores in (0, 100], shape ``(...)`` each; higher is better."""

    bleedless: Tensor
    fullness: Tensor


def bleedless_fullness(
    estimate: Tensor,
    reference: Tensor,
    *,
    sample_rate: float,
    n_fft: int = 4096,
    hop_length: int = 1024,
    n_mels: int = 512,
    lengths: Lengths | None = None,
) -> BleedlessFullness:
    r"""How little an estimate holds that it should not, and how much of what it should.

    With the difference :math:`d` of the mel spectrograms of magnitudes in dB, each of which is cut
    off 80 dB below its maximum,

    .. math::
        \mathrm{bleedless} = \frac{100}{1 + \mathrm{mean}(d \mid d > 0)}, \qquad
        \mathrm{fullness} = \frac{100}{1 + \mathrm{mean}(-d \mid d < 0)}

    as MSST-Training and MVSep define them. All channels are compared together.

    Args:
        estimate: ``(..., channels, samples)``.
        reference: Same shape.
        sample_rate: In Hz; the number of mel bands is that of 44.1 kHz.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        n_mels: Number of mel bands.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per item; 100 for a perfect estimate, and for silence where silence should be.

    Raises:
        ShapeError: The shapes differ, hold no samples, or are no audio.
        AudioError: A sample is NaN or infinite.
    """
    filters = mel_filterbank(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, dtype=torch.float64
    )

    def level(x: Tensor) -> Tensor:
        spectrum = _magnitude(x, n_fft, hop_length, pad_mode="constant")
        level_db = 20 * torch.log10((filters.to(spectrum) @ spectrum).clamp(min=1e-10))
        return torch.maximum(level_db, level_db.amax((-3, -2, -1), keepdim=True) - 80)

    def score(ours: Tensor, theirs: Tensor) -> Tensor:
        difference = level(ours) - level(theirs)
        scores = []
        for part in (difference, -difference):
            total = part.clamp(min=0.0).sum((-3, -2, -1))
            count = (part > 0).sum((-3, -2, -1)).clamp(min=1)
            scores.append(100 / (1 + total / count))
        return torch.stack(scores, dim=-1)

    both = map_items(score, estimate, reference, lengths, dims=2).to(result_dtype(estimate))
    return BleedlessFullness(*both.unbind(-1))


def l1_frequency(
    estimate: Tensor,
    reference: Tensor,
    *,
    n_fft: int = 2048,
    hop_length: int = 1024,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Likeness of magnitude spectrograms, "l1_freq" of MSST-Training; higher is better.

    .. math:: \frac{100}{1 + 10 \, \mathrm{mean} \big| |X| - |\hat X| \big|}

    with a transform that has **no window**, as in the original. The value depends on the level.

    Args:
        estimate: ``(..., channels, samples)``.
        reference: Same shape.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value in (0, 100] per item, shape ``(...)``; 100 for a perfect estimate, silent or not.
    """

    def score(ours: Tensor, theirs: Tensor) -> Tensor:
        window = torch.ones(n_fft, dtype=torch.float64, device=ours.device)
        spectra = [_magnitude(x, n_fft, hop_length, window=window) for x in (ours, theirs)]
        distance = (spectra[0] - spectra[1]).abs().mean((-3, -2, -1))
        return 100 / (1 + 10 * distance)

    return map_items(score, estimate, reference, lengths, dims=2).to(result_dtype(estimate))


def log_spectral_distance(
    estimate: Tensor,
    reference: Tensor,
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    range_db: float = 80.0,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Log-spectral distance, in dB; lower is better.

    .. math::
        \frac1M \sum_m \sqrt{\frac1K \sum_k \Big( 20 \log_{10} \frac{|X_{km}|}{|\hat X_{km}|}
        \Big)^2}

    over bins :math:`k` and frames :math:`m`, with both magnitudes at least ``range_db`` below the
    largest one of the reference. Gray and Markel, *Distance measures for speech processing*,
    doi:10.1109/TASSP.1976.1162849.

    Args:
        estimate: ``(..., samples)``.
        reference: Same shape.
        n_fft: Length of the transform in samples.
        hop_length: Samples between frames.
        range_db: Dynamic range of the reference that counts.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per signal, shape ``(...)``; 0 for a perfect estimate, NaN for a silent reference.
    """
    if not range_db > 0:
        raise ParameterError(f"range_db is {range_db}; expected more than 0 dB")

    def score(ours: Tensor, theirs: Tensor) -> Tensor:
        magnitudes = [_magnitude(x, n_fft, hop_length) for x in (ours, theirs)]
        floor = magnitudes[1].amax((-2, -1), keepdim=True) * 10 ** (-range_db / 20)
        ours_db, theirs_db = (20 * torch.log10(torch.maximum(m, floor)) for m in magnitudes)
        distance = (ours_db - theirs_db).square().mean(-2).sqrt().mean(-1)
        return distance.masked_fill(~(theirs != 0).any(-1), torch.nan)

    value = map_items(score, estimate, reference, lengths, dims=1)
    return value.to(result_dtype(estimate))


def multi_resolution_stft_distance(
    estimate: Tensor,
    reference: Tensor,
    *,
    resolutions: Sequence[Resolution] = _RESOLUTIONS,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Spectral convergence plus log-magnitude distance, over resolutions; lower is better.

    .. math::
        \frac{\| |X| - |\hat X| \|}{\| X \|} + \mathrm{mean} \left| \ln \frac{|X|}{|\hat X|} \right|

    with magnitudes of at least 1e-4. Yamamoto et al., *Parallel WaveGAN*, arXiv:1910.11480; the
    resolutions and the scale are those of auraloss, but every signal is measured by itself.

    Args:
        estimate: ``(..., samples)``.
        reference: Same shape.
        resolutions: Transforms.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per signal, shape ``(...)``; 0 for a perfect estimate, NaN for a silent reference.

    Raises:
        AudioError: A signal is too short for the longest transform, or holds NaN.
    """
    resolutions = tuple(resolutions)
    windows = [hann(r.win_length, dtype=torch.float64) for r in resolutions]
    shortest = 1 + max((r.n_fft for r in resolutions), default=0) // 2

    def score(ours: Tensor, theirs: Tensor) -> Tensor:
        if ours.shape[-1] < shortest:
            raise AudioError(
                f"{ours.shape[-1]} samples are too few for these resolutions; expected at least "
                f"{shortest}"
            )
        # The least level that counts is far below any sound: nothing is softened here.
        value = stft_distance(
            wide(ours.detach()),
            wide(theirs.detach()),
            resolutions=resolutions,
            windows=windows,
            floor=_FLOOR,
            quiet=1e-30,
        )
        return value.masked_fill(~(theirs != 0).any(-1), torch.nan)

    return map_items(score, estimate, reference, lengths, dims=1).to(result_dtype(estimate))


def _magnitude(
    x: Tensor,
    n_fft: int,
    hop_length: int,
    *,
    window: Tensor | None = None,
    pad_mode: PadMode = "reflect",
) -> Tensor:
    spectrum = stft(wide(x), n_fft=n_fft, hop_length=hop_length, window=window, pad_mode=pad_mode)
    return spectrum.abs()
