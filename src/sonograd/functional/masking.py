"""Soft masks that need no training, each from one observation about music.

Masks are real, in [0, 1], and shaped like the spectrum they are for.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_number
from sonograd.functional.order_statistics import median, median_filter
from sonograd.shapes import check_floating, check_same_shape

__all__ = ["center_mask", "harmonic_percussive_masks", "repetition_mask", "soft_mask"]


def soft_mask(wanted: Tensor, other: Tensor, *, power: float = 2.0) -> Tensor:
    r"""Share of one magnitude in two, :math:`a^p / (a^p + b^p)`; one half where both are silent.

    Args:
        wanted: Magnitudes :math:`a \geq 0`, any shape.
        other: Magnitudes :math:`b \geq 0`, same shape.
        power: The exponent :math:`p > 0`; 2 is a Wiener filter, ``inf`` a binary mask.

    Returns:
        The mask of ``wanted``; that of ``other`` is one minus it.

    >>> soft_mask(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor([0.9000, 0.5000])
    """
    check_same_shape(wanted, other)
    if not power > 0:
        raise ParameterError(f"power is {power}; expected a number > 0")
    largest = torch.maximum(wanted, other)
    silent = largest == 0
    largest = largest.masked_fill(silent, 1.0)
    # Dividing by the larger one keeps tiny magnitudes from underflowing.
    a = (wanted / largest).masked_fill(silent, 1.0).pow(power)
    b = (other / largest).masked_fill(silent, 1.0).pow(power)
    return a / (a + b)


def harmonic_percussive_masks(
    magnitude: Tensor,
    *,
    time_length: int = 17,
    frequency_length: int = 17,
    power: float = 2.0,
    margins: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    r"""Tell steady from sudden sound by medians along time and along frequency.

    A partial is smooth along time and a click is smooth along frequency, and a median removes
    what is not. Fitzgerald, *Harmonic/percussive separation using median filtering*, DAFx 2010;
    margins: Driedger, Müller and Disch, *Extending harmonic-percussive separation of audio
    signals*, ISMIR 2014.

    Args:
        magnitude: ``(..., bins, frames)``.
        time_length: Frames under the median that keeps harmonic sound, odd.
        frequency_length: Bins under the median that keeps percussive sound, odd.
        power: Exponent of the soft masks, see :func:`soft_mask`.
        margins: How many times one median must exceed the other one for a bin to be harmonic, and
            to be percussive. With 1 and 1 the masks sum to one; with more, something remains.

    Returns:
        The harmonic and the percussive mask, like ``magnitude``. The spectrum is mirrored at its
        four edges; silence gives one half.

    Raises:
        ParameterError: If a filter length is even or a margin is below 1.
    """
    check_margins(margins)
    if not isinstance(power, Tensor) and power != math.inf:
        check_number("power", power, positive=True)
    harmonic = median_filter(magnitude, length=time_length, dim=-1)
    percussive = median_filter(magnitude, length=frequency_length, dim=-2)
    if margins == (1.0, 1.0):
        mask = soft_mask(harmonic, percussive, power=power)
        return mask, 1 - mask
    return (
        soft_mask(harmonic, margins[0] * percussive, power=power),
        soft_mask(percussive, margins[1] * harmonic, power=power),
    )


def check_margins(margins: object) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless these are two numbers from 1 on."""
    if not isinstance(margins, (tuple, list)) or len(margins) != 2:
        raise ParameterError(f"margins is {margins!r}; expected two numbers, at least 1 each")
    for margin in margins:
        check_number("margins", margin)
    if min(margins) < 1:
        raise ParameterError(f"margins are {margins}; expected at least 1 each")


def center_mask(left: Tensor, right: Tensor, *, power: float = 1.0) -> Tensor:
    r"""Share of the mid signal that is panned to the center.

    .. math::
        1 - \left(\frac{|L - R|}{|L + R|}\right)^p, \qquad \text{at least } 0

    With :math:`p = 1` the center is the multiple of :math:`L + R` whose removal makes what is
    left of both channels orthogonal. A bin with one silent channel, or with channels in
    opposition, has none. The similarity of channels as the cue: Avendano and Jot, *A
    frequency-domain approach to multichannel upmix*, JAES 52(7), 2004.

    Args:
        left: Complex spectrum of the left channel, any shape.
        right: Complex spectrum of the right channel, same shape.
        power: The exponent :math:`p > 0`; 1 rejects most, 2 assumes sides of random phase.

    Returns:
        The mask, to be applied to ``(left + right) / 2``; 0 in silence.

    >>> center_mask(torch.tensor([1 + 0j, 1 + 0j]), torch.tensor([1 + 0j, 0j]))
    tensor([1., 0.])
    """
    check_same_shape(left, right)
    if not power > 0:
        raise ParameterError(f"power is {power}; expected a number > 0")
    mid, side = (left + right).abs(), (left - right).abs()
    inside = side < mid
    ratio = side.where(inside, 0.0) / mid.where(inside, 1.0)
    return (1 - ratio.pow(power)).where(inside, 0.0)


def repetition_mask(
    magnitude: Tensor,
    *,
    min_distance: int,
    max_similar: int = 15,
    min_similarity: float = 0.0,
    similarity: Tensor | None = None,
) -> Tensor:
    r"""Find what repeats: each frame is compared with the median of the frames most like it.

    Similar frames are peaks of the cosine similarity, at least ``min_distance`` apart; the frame
    itself is one of them. Rafii and Pardo, *Music/voice separation using the similarity matrix*
    (REPET-SIM), ISMIR 2012.

    Args:
        magnitude: ``(..., bins, frames)``.
        min_distance: Frames between similar frames, at least 1.
        max_similar: Similar frames to take at most.
        min_similarity: Cosine that a frame must exceed to be called similar.
        similarity: Frames times frames, ``(frames, frames)``, to share one among channels. If
            None, the cosine similarity of the frames of all leading dimensions together.

    Returns:
        The mask of the repeating background, like ``magnitude``; 1 in silence. One minus it is
        the mask of the foreground.

    Raises:
        ParameterError: If ``min_distance`` or ``max_similar`` is below 1.
    """
    check_floating(magnitude, name="magnitude")
    if min_distance < 1 or max_similar < 1:
        raise ParameterError(
            f"min_distance is {min_distance} and max_similar {max_similar}; "
            "expected at least 1 each"
        )
    frames = magnitude.shape[-1]
    if magnitude.numel() == 0:
        return torch.ones_like(magnitude)
    if similarity is None:
        vectors = magnitude.reshape(-1, frames)
        vectors = vectors / vectors.norm(dim=0).clamp(min=torch.finfo(magnitude.dtype).tiny)
        similarity = vectors.mT @ vectors
    neighbors, found = _similar_frames(similarity, min_distance, max_similar, min_similarity)
    rows = magnitude.mT.reshape(-1, frames, magnitude.shape[-2])
    step = max(1, (1 << 15) // rows.shape[-1])
    medians = [
        _median_of_rows(one, neighbors[begin : begin + step], found[begin : begin + step])
        for one in rows
        for begin in range(0, frames, step)
    ]
    median_magnitude = torch.cat(medians).reshape(magnitude.mT.shape).mT
    silent = magnitude == 0
    ratio = median_magnitude / magnitude.masked_fill(silent, 1.0)
    return ratio.clamp(max=1.0).masked_fill(silent, 1.0)


def _similar_frames(
    similarity: Tensor, min_distance: int, count: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Return the indices of the highest peaks of each row, ``(frames, count)``, and which exist."""
    frames = similarity.shape[-1]
    width = min(min_distance, frames)
    similarity = similarity.clone().fill_diagonal_(torch.inf)  # nothing is more like a frame
    highest = nnf.max_pool1d(similarity[None], 2 * width - 1, 1, width - 1)[0]
    peaks = (similarity >= highest) & (similarity > threshold)
    score = similarity.masked_fill(~peaks, -torch.inf)
    best = score.topk(min(count, frames), dim=-1)
    return best.indices, best.values > -torch.inf


def _median_of_rows(rows: Tensor, neighbors: Tensor, found: Tensor) -> Tensor:
    """Return the (lower) median of the found neighbors of each frame, ``(frames, bins)``."""
    count = neighbors.shape[-1]
    valid = found.sum(-1, keepdim=True)
    # Missing neighbors sit below and above all others, so many that the median stays in place.
    below = (count - 1) // 2 - (valid - 1) // 2
    filler = torch.where((~found).cumsum(-1) <= below, -torch.inf, torch.inf).to(rows)
    values = [
        torch.where(found[:, k, None], rows[neighbors[:, k]], filler[:, k, None])
        for k in range(count)
    ]
    return median(values)
