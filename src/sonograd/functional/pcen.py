"""Per-channel energy normalization: a gain control for every band of a spectrogram."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ShapeError
from sonograd.functional._settings import check_levels

__all__ = ["exponential_average", "pcen"]

_BLOCK = 32


def exponential_average(x: Tensor, rate: Tensor, start: Tensor | None = None) -> Tensor:
    r"""Smooth along the last axis, :math:`m_n = (1 - s) m_{n-1} + s x_n`.

    Blocks of the recursion are matrix products, so that it is parallel within them; differentiable
    with respect to everything.

    Args:
        x: ``(..., bands, frames)``.
        rate: :math:`s`, 0 to 1, ``(bands,)`` or ``(1,)``.
        start: :math:`m_{-1}`, ``(..., bands)``; the first value of ``x`` if None.

    Returns:
        The shape of ``x``.

    >>> exponential_average(torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([0.5]))
    tensor([[0.0000, 0.5000, 0.7500]])
    """
    frames = x.shape[-1]
    if x.numel() == 0:
        return x
    state = x[..., 0] if start is None else start
    size = min(_BLOCK, frames)
    keep = 1 - rate[:, None]
    step = torch.arange(size, device=x.device)
    distance = step[:, None] - step
    # Powers of what is kept; the exponent is never negative, so that their gradients are finite.
    powers = keep[..., None] ** distance.clamp(min=0).to(x.dtype)
    weight = rate[:, None, None] * powers.where(distance >= 0, 0.0)
    fading = keep ** (step + 1).to(x.dtype)
    blocks = pad(x, (0, -frames % size)).unflatten(-1, (-1, size))
    driven = (
        (blocks.unsqueeze(-2) * weight.unsqueeze(-3)).sum(-1)
        if size == 1
        else (torch.einsum("...kn,...mn->...km", blocks, weight))
    )
    results = []
    for block in driven.unbind(-2):
        result = block + fading * state[..., None]
        state = result[..., -1]
        results.append(result)
    return torch.stack(results, dim=-2).flatten(-2)[..., :frames]


def pcen(
    spectrogram: Tensor,
    *,
    rate: Tensor,
    gain: Tensor,
    bias: Tensor,
    power: Tensor,
    epsilon: float = 1e-6,
    start: Tensor | None = None,
) -> Tensor:
    r"""Divide every band by its own smoothed level, and compress.

    .. math::
        \Big(\frac{E}{(\epsilon + M)^\alpha} + \delta\Big)^r - \delta^r, \qquad
        M_n = (1 - s) M_{n-1} + s E_n

    Wang et al., *Trainable frontend for robust and far-field keyword spotting*,
    doi:10.1109/ICASSP.2017.7953242.

    Args:
        spectrogram: :math:`E`, at least 0, ``(..., bands, frames)``.
        rate: :math:`s`, 0 to 1, ``(bands,)`` or ``(1,)``.
        gain: :math:`\alpha`, likewise.
        bias: :math:`\delta`, positive, likewise.
        power: :math:`r`, positive, likewise.
        epsilon: Level below which nothing is raised, positive.
        start: :math:`M_{-1}`, ``(..., bands)``; the first frame if None.

    Returns:
        Like ``spectrogram``; 0 in silence.

    Raises:
        ShapeError: If ``spectrogram`` has no bands and frames, or ``start`` other bands.
        ParameterError: If a value of it is negative, NaN or infinite (looked at on the CPU only).
    """
    check_levels(spectrogram, name="spectrogram")
    if spectrogram.ndim < 2:
        raise ShapeError(
            f"spectrogram has shape {tuple(spectrogram.shape)}; expected (..., bands, frames)"
        )
    if start is not None and start.shape[-1:] not in {spectrogram.shape[-2:-1], (1,)}:
        raise ShapeError(
            f"start has shape {tuple(start.shape)}; expected (..., {spectrogram.shape[-2]}), the "
            "level of every band"
        )
    level = exponential_average(spectrogram, rate, start)
    alpha, delta, r = (value[:, None] for value in (gain, bias, power))
    # The division as a product of exponentials keeps small levels from overflowing.
    normalized = spectrogram * torch.exp(-alpha * torch.log(level + epsilon))
    return (normalized + delta) ** r - delta**r
