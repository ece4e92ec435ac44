"""Change of the sample rate by a windowed sinc, differentiable."""

import math
from fractions import Fraction

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.framing import frame_signal, map_frames, may_work_in_pieces
from sonograd.shapes import check_floating

__all__ = ["resample"]

_LARGEST_BANK = 1 << 22  # numbers in the kernels of all phases
_POINTS = 1 << 20  # kernel values that are made at once where there are too many phases


def resample(
    x: Tensor,
    *,
    from_rate: int,
    to_rate: int,
    zeros: int = 64,
    rolloff: float = 0.9475937167399596,
    beta: float = 14.769656459379492,
) -> Tensor:
    r"""Change the sample rate, without delay.

    .. math::
        y_j = \sum_n x_n \, h\Big(\frac{j s}{s'} - n\Big), \qquad
        h(t) = c \, \mathrm{sinc}(c t) \, \frac{I_0(\beta \sqrt{1 - (c t / z)^2})}{I_0(\beta)}

    for :math:`|t| < z / c`, with the cutoff :math:`c = r \min(1, s' / s)` in units of half the old
    rate and :math:`z` zeros on each side. Every sample is exactly this sum. Smith, *Digital audio
    resampling home page*; the default kernel is that of resampy's ``kaiser_best``: flat to 0.9 of
    the lower Nyquist frequency, aliases below -100 dB above 1.

    Args:
        x: Signals ``(..., samples)``.
        from_rate: Their sample rate :math:`s` in Hz.
        to_rate: The new one :math:`s'` in Hz.
        zeros: :math:`z`, at least 1: steepness, and cost.
        rolloff: :math:`r`, above 0 and at most 1.
        beta: Shape of the Kaiser window, at least 0.

    Returns:
        ``(..., round(samples * to_rate / from_rate))``; ``x`` itself if the rates are equal.

    Raises:
        ShapeError: If ``x`` is not real and floating-point.
        ParameterError: If an argument is out of range.

    >>> resample(torch.ones(3, 441), from_rate=44100, to_rate=48000).shape
    torch.Size([3, 480])
    """
    check_floating(x)
    if x.ndim < 1:
        raise ShapeError("x has no axes; expected (..., samples)")
    for name, value in (("from_rate", from_rate), ("to_rate", to_rate), ("zeros", zeros)):
        if value < 1 or value != int(value):
            raise ParameterError(f"{name} is {value}; expected a whole number, at least 1")
    if not 0 < rolloff <= 1:
        raise ParameterError(f"rolloff is {rolloff}; expected more than 0, at most 1")
    if not beta >= 0:
        raise ParameterError(f"beta is {beta}; expected at least 0")
    ratio = Fraction(int(to_rate), int(from_rate))
    if ratio == 1:
        return x
    half = x.dtype if x.dtype in {torch.float16, torch.bfloat16} else None
    x = x if half is None else x.float()
    length = round(x.shape[-1] * ratio)
    cutoff = rolloff * min(1.0, float(ratio))
    reach = math.ceil(zeros / cutoff)
    shape = (cutoff, zeros, beta)
    if length == 0 or x.numel() == 0:
        y = x.new_zeros(*x.shape[:-1], length)
    elif ratio.numerator * (2 * reach + ratio.denominator) <= _LARGEST_BANK:
        y = _by_phase(x, ratio, length, reach, shape)
    else:
        y = _by_sample(x, ratio, length, reach, shape)
    return y if half is None else y.to(half)


def _kernel(time: Tensor, cutoff: float, zeros: int, beta: float) -> Tensor:
    """Return the kernel at ``time`` in old samples."""
    place = cutoff * time
    inside = (1 - (place / zeros).square()).clamp(min=0.0).sqrt()
    window = torch.special.i0e(beta * inside) * torch.exp(beta * (inside - 1))
    window = window / torch.special.i0e(torch.tensor(beta, dtype=time.dtype))
    value: Tensor = cutoff * torch.sinc(place) * window
    return value.where(place.abs() < zeros, 0.0)


def _by_phase(
    x: Tensor, ratio: Fraction, length: int, reach: int, shape: tuple[float, int, float]
) -> Tensor:
    """Use that results ``numerator`` apart see the signal at the same phase."""
    up, down = ratio.numerator, ratio.denominator
    taps = 2 * reach + down
    offset = torch.arange(up, dtype=torch.float64)[:, None] * (down / up)
    bank = _kernel(offset - torch.arange(-reach, reach + down, dtype=torch.float64), *shape)
    matrix = bank.mT.contiguous().to(dtype=x.dtype, device=x.device)
    rows = -(-length // up)
    after = (rows - 1) * down + taps - reach - x.shape[-1]
    if may_work_in_pieces(x):
        y = map_frames(
            x,
            lambda frames, out: torch.matmul(frames, matrix, out=out),
            n_fft=taps,
            hop_length=down,
            before=reach,
            after=after,
            pad_mode="constant",
            features=up,
            dtype=x.dtype,
        )
    else:
        y = frame_signal(x, n_fft=taps, hop_length=down, before=reach, after=after) @ matrix
    return y.flatten(-2)[..., :length]


def _by_sample(
    x: Tensor, ratio: Fraction, length: int, reach: int, shape: tuple[float, int, float]
) -> Tensor:
    """Make the kernel of every result, where hardly any two are alike."""
    taps = 2 * reach
    step = max(1, _POINTS // taps)
    last = math.floor((length - 1) / ratio) + 1 + reach
    frames = frame_signal(
        x, n_fft=taps, hop_length=1, before=reach - 1, after=max(0, last - x.shape[-1] + 1)
    )
    near = torch.arange(1 - reach, reach + 1, dtype=torch.float64)
    parts = []
    for begin in range(0, length, step):
        index = torch.arange(begin, min(begin + step, length))
        # Whole numbers keep the place exact, however long the signal is.
        place = index * ratio.denominator
        whole = torch.div(place, ratio.numerator, rounding_mode="floor")
        fraction = (place - whole * ratio.numerator).to(torch.float64) / ratio.numerator
        kernel = _kernel(fraction[:, None] - near, *shape).to(dtype=x.dtype, device=x.device)
        chosen = frames.index_select(-2, whole.to(x.device))
        parts.append((chosen.unsqueeze(-2) @ kernel.unsqueeze(-1))[..., 0, 0])
    return torch.cat(parts, dim=-1)
