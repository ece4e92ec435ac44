"""Loudness after ITU-R BS.1770-5 and EBU R 128."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional._pairs import Lengths, check_finite, item_lengths, result_dtype, wide
from sonograd.functional.recursion import sosfilt_stream
from sonograd.shapes import check_audio

__all__ = [
    "k_weighting_sos",
    "loudness_lufs",
    "loudness_lufs_blocks",
    "loudness_range_lu",
    "momentary_loudness_lufs",
    "short_term_loudness_lufs",
]

_OFFSET = -0.691  # dB: a stereo sine of 997 Hz has its level in dBFS
_STEP_S = 0.1
_ABSOLUTE_GATE = -70.0
_BLOCK = 1 << 17  # samples that are filtered at once
_WEIGHTS = {
    1: (1.0,),
    2: (1.0, 1.0),
    3: (1.0, 1.0, 1.0),
    4: (1.0, 1.0, 1.41, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
}


def k_weighting_sos(*, sample_rate: float) -> Tensor:
    """Design the K-weighting filter: a shelf for the head, and a high-pass.

    At 48 kHz the coefficients of ITU-R BS.1770-5, annex 1; at other rates the bilinear transform
    of the same analog filters.

    Args:
        sample_rate: In Hz.

    Returns:
        Two sections ``(2, 6)``, float64; see :func:`sosfilt`.
    """
    if not (sample_rate >= 4000 and math.isfinite(sample_rate)):
        raise ParameterError(f"sample_rate is {sample_rate}; expected at least 4000 Hz")
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [
        (high + middle * k / q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    ]
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return torch.tensor([shelf, high_pass], dtype=torch.float64)


def loudness_lufs(
    x: Tensor,
    *,
    sample_rate: float,
    channel_weights: Sequence[float] | None = None,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Integrated, gated loudness in LUFS.

    .. math::
        -0.691 + 10 \log_{10} \sum_c G_c z_c

    with the mean square :math:`z_c` of the K-weighted channels over the blocks of 400 ms, every
    100 ms, that are louder than -70 LUFS and than 10 LU below the loudness of those.
    Recommendation ITU-R BS.1770-5.

    Args:
        x: ``(..., channels, samples)``, at least 0.4 s.
        sample_rate: In Hz.
        channel_weights: :math:`G_c`, one per channel. If None, those of mono, stereo, L R C,
            L R Ls Rs, L R C Ls Rs, or L R C LFE Ls Rs.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        ``(...)``; ``-inf`` where no block passes the gate, as in silence.

    Raises:
        ShapeError: ``x`` is no audio, or has a number of channels without weights.
        AudioError: ``x`` is shorter than a block, or holds NaN or infinity.
    """
    values = [
        _integrated(_steps([part], sample_rate, channel_weights, least=4))
        for part in _items(x, lengths)
    ]
    return _join(values, x)


def loudness_lufs_blocks(
    blocks: Iterable[Tensor],
    *,
    sample_rate: float,
    channel_weights: Sequence[float] | None = None,
) -> Tensor:
    """Integrated loudness of a sound that comes in blocks, for example from a file.

    Args:
        blocks: ``(..., channels, any number of samples)``.
        sample_rate: In Hz.
        channel_weights: As in :func:`loudness_lufs`.

    Returns:
        ``(...)`` in float64, as :func:`loudness_lufs` of everything.
    """
    power = _steps(blocks, sample_rate, channel_weights, least=4)
    values = [_integrated(steps) for steps in power.flatten(1).mT] if power.ndim > 1 else []
    return torch.stack(values).reshape(power.shape[1:]) if values else _integrated(power)


def momentary_loudness_lufs(
    x: Tensor,
    *,
    sample_rate: float,
    channel_weights: Sequence[float] | None = None,
) -> Tensor:
    """Loudness of windows of 400 ms, every 100 ms, without gate; EBU Tech 3341.

    Args:
        x: ``(..., channels, samples)``, at least 0.4 s.
        sample_rate: In Hz.
        channel_weights: As in :func:`loudness_lufs`.

    Returns:
        ``(..., windows)`` in LUFS; the first window ends 0.4 s after the start.
    """
    return _windows(x, 4, sample_rate, channel_weights)


def short_term_loudness_lufs(
    x: Tensor,
    *,
    sample_rate: float,
    channel_weights: Sequence[float] | None = None,
) -> Tensor:
    """Loudness of windows of 3 s, every 100 ms, without gate; EBU Tech 3341.

    Args:
        x: ``(..., channels, samples)``, at least 3 s.
        sample_rate: In Hz.
        channel_weights: As in :func:`loudness_lufs`.

    Returns:
        ``(..., windows)`` in LUFS; the first window ends 3 s after the start.
    """
    return _windows(x, 30, sample_rate, channel_weights)


def loudness_range_lu(
    x: Tensor,
    *,
    sample_rate: float,
    channel_weights: Sequence[float] | None = None,
) -> Tensor:
    """Loudness range in LU: from the 10th to the 95th percentile of the short-term loudness.

    Only windows above -70 LUFS and above 20 LU below the mean of those count; EBU Tech 3342.

    Args:
        x: ``(..., channels, samples)``, at least 3 s.
        sample_rate: In Hz.
        channel_weights: As in :func:`loudness_lufs`.

    Returns:
        ``(...)``; 0 where no window counts.
    """
    levels = short_term_loudness_lufs(
        x, sample_rate=sample_rate, channel_weights=channel_weights
    ).double()
    ranges = []
    for level in levels.reshape(-1, levels.shape[-1]):
        kept = level[level > _ABSOLUTE_GATE]
        if kept.numel():
            mean = 10 * torch.log10((10 ** (kept / 10)).mean())
            kept = kept[kept > mean - 20]
        low, high = (_nearest_rank(kept, q) for q in (0.10, 0.95))
        ranges.append(high - low)
    return torch.stack(ranges).reshape(levels.shape[:-1]).to(result_dtype(x))


def _nearest_rank(values: Tensor, fraction: float) -> Tensor:
    """Quantile at the nearest rank, as the example of EBU Tech 3342 has it."""
    if not values.numel():
        return values.new_zeros(())
    return values.sort().values[round((values.numel() - 1) * fraction)]


def _items(x: Tensor, lengths: Lengths | None) -> list[Tensor]:
    """Split ``(..., channels, samples)`` into its items without their padding."""
    check_audio(x)
    if not x.numel():
        raise ShapeError(f"x has shape {tuple(x.shape)}, which holds no samples")
    flat = x.detach().reshape(-1, *x.shape[-2:])
    cuts = item_lengths(lengths, x.shape, keep=2)
    return [item[..., :cut] for item, cut in zip(flat, cuts, strict=True)]


def _join(values: list[Tensor], x: Tensor) -> Tensor:
    whole = torch.stack(values)
    return whole.reshape(x.shape[:-2] + whole.shape[1:]).to(x.device, result_dtype(x))


def _windows(
    x: Tensor, steps: int, sample_rate: float, channel_weights: Sequence[float] | None
) -> Tensor:
    values = []
    for part in _items(x, None):
        power = _steps([part], sample_rate, channel_weights, least=steps)
        values.append(_OFFSET + 10 * torch.log10(power.unfold(0, steps, 1).mean(-1)))
    return _join(values, x)


def _integrated(power: Tensor) -> Tensor:
    """Gate the weighted power of steps of 100 ms, ``(steps,)``."""
    blocks = power.unfold(0, 4, 1).mean(-1)
    loud = blocks[_OFFSET + 10 * torch.log10(blocks) > _ABSOLUTE_GATE]
    if not loud.numel():
        return blocks.new_full((), -torch.inf)
    kept = loud[10 * torch.log10(loud) > 10 * torch.log10(loud.mean()) - 10]
    return _OFFSET + 10 * torch.log10(kept.mean())


def _steps(
    blocks: Iterable[Tensor],
    sample_rate: float,
    channel_weights: Sequence[float] | None,
    *,
    least: int,
) -> Tensor:
    """Weighted mean square of consecutive steps of 100 ms, float64 ``(steps, ...)``."""
    sos = k_weighting_sos(sample_rate=sample_rate)
    state: Tensor | None = None
    # Steps are cut at the nearest sample, so that they stay in time at any rate.
    total = done = 0
    rest: Tensor | None = None
    means: list[Tensor] = []
    weights: Tensor | None = None
    for block in blocks:
        check_finite(block, name="x")
        if weights is None:
            weights = _weights(block.shape[-2], channel_weights).to(wide(block[..., :0]))
        for part in block.split(_BLOCK, dim=-1):
            y, state = sosfilt_stream(wide(part), sos.to(part.device), state)
            power = weights @ y.square()
            rest = power if rest is None else torch.cat([rest, power], dim=-1)
            total += part.shape[-1]
            while (stop := round((done + 1) * _STEP_S * sample_rate)) <= total:
                size = stop - round(done * _STEP_S * sample_rate)
                means.append(rest[..., :size].mean(-1))
                rest = rest[..., size:]
                done += 1
    if len(means) < least:
        raise AudioError(
            f"x lasts {total / sample_rate:.3f} s; expected at least {least * _STEP_S:g} s"
        )
    return torch.stack(means)


def _weights(channels: int, given: Sequence[float] | None) -> Tensor:
    weights = _WEIGHTS.get(channels) if given is None else tuple(given)
    if weights is None or len(weights) != channels:
        raise ShapeError(
            f"x has {channels} channels, but there are "
            f"{'no weights' if weights is None else f'{len(weights)} weights'} for them; "
            "pass channel_weights with one number per channel"
        )
    return torch.tensor(weights, dtype=torch.float64)
