"""Layers that compress the range of a spectrogram, with numbers that can be learned."""

import math

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends.base import check_counts, check_flags
from sonograd.functional._settings import check_levels, check_number
from sonograd.functional.pcen import pcen
from sonograd.shapes import check_floating

__all__ = ["PCEN", "LogCompression"]


class PCEN(nn.Module):
    r"""Per-channel energy normalization, see :func:`~sonograd.functional.pcen`.

    What is stored is unconstrained: the logit of the rate, and logarithms of the others, so that
    any step of an optimizer leaves them in range.

    >>> PCEN(bands=40)(torch.rand(2, 40, 100)).shape
    torch.Size([2, 40, 100])
    """

    rate_logit: Tensor
    log_gain: Tensor
    log_bias: Tensor
    log_power: Tensor

    def __init__(
        self,
        *,
        bands: int = 1,
        rate: float = 0.025,
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        epsilon: float = 1e-6,
        trainable: bool = True,
    ) -> None:
        r"""Choose where to begin.

        Args:
            bands: Bands that have numbers of their own; 1 shares them among all bands.
            rate: :math:`s`, how fast the level follows, between 0 and 1. For a time constant of
                :math:`T` frames it is :math:`(\sqrt{1 + 4 T^2} - 1) / 2 T^2`.
            gain: :math:`\alpha`, how much of the level is removed, positive.
            bias: :math:`\delta`, positive.
            power: :math:`r`, positive.
            epsilon: Level below which nothing is raised.
            trainable: Make the four numbers parameters.

        Raises:
            ParameterError: If a number is out of range.
        """
        super().__init__()
        check_counts(bands=bands)
        check_flags(trainable=trainable)
        check_number("rate", rate)
        if not 0 < rate < 1:
            raise ParameterError(f"rate is {rate}; expected a number between 0 and 1")
        for name, value in (("gain", gain), ("bias", bias), ("power", power), ("epsilon", epsilon)):
            check_number(name, value, positive=True)
        self.bands, self.epsilon = bands, epsilon
        starts = {
            "rate_logit": math.log(rate / (1 - rate)),
            "log_gain": math.log(gain),
            "log_bias": math.log(bias),
            "log_power": math.log(power),
        }
        for name, value in starts.items():
            start = torch.full((bands,), value)
            if trainable:
                setattr(self, name, nn.Parameter(start))
            else:
                self.register_buffer(name, start, persistent=False)

    def values(self, like: Tensor | None = None) -> dict[str, Tensor]:
        """Return rate, gain, bias and power, each ``(bands,)``."""
        stored = [self.rate_logit, self.log_gain, self.log_bias, self.log_power]
        if like is not None:
            stored = [value.to(dtype=like.dtype, device=like.device) for value in stored]
        rate, *logarithms = stored
        gain, bias, power = (value.exp() for value in logarithms)
        return {"rate": rate.sigmoid(), "gain": gain, "bias": bias, "power": power}

    def forward(self, spectrogram: Tensor, start: Tensor | None = None) -> Tensor:
        """Normalize ``(..., bands, frames)``.

        Args:
            spectrogram: At least 0.
            start: Level before the first frame, ``(..., bands)``; that of the first frame if None.

        Raises:
            ShapeError: If there are not the bands that the layer was made for.
            ParameterError: If a value is negative, NaN or infinite (looked at on the CPU only).
        """
        spectrogram = _checked(spectrogram, self.bands)
        return pcen(spectrogram, **self.values(spectrogram), epsilon=self.epsilon, start=start)


class LogCompression(nn.Module):
    r"""Logarithm that fades into a line near zero, :math:`\log(1 + c x) / \log(1 + c)`.

    0 stays 0 and 1 stays 1. The factor :math:`c` is stored as its logarithm.

    >>> LogCompression(factor=9.0, trainable=False)(torch.tensor([[0.0, 1.0, 11.0]]))
    tensor([[0., 1., 2.]])
    """

    log_factor: Tensor

    def __init__(self, *, bands: int = 1, factor: float = 10_000.0, trainable: bool = True) -> None:
        """Choose where to begin.

        Args:
            bands: Bands that have factors of their own; 1 shares one among all bands.
            factor: :math:`c`, positive.
            trainable: Make it a parameter.

        Raises:
            ParameterError: If a number is out of range.
        """
        super().__init__()
        check_counts(bands=bands)
        check_flags(trainable=trainable)
        check_number("factor", factor, positive=True)
        self.bands = bands
        start = torch.full((bands,), math.log(factor))
        if trainable:
            self.log_factor = nn.Parameter(start)
        else:
            self.register_buffer("log_factor", start, persistent=False)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Compress ``(..., bands, frames)``, at least 0.

        Raises:
            ShapeError: If there are not the bands that the layer was made for.
            ParameterError: If a value is negative, NaN or infinite (looked at on the CPU only).
        """
        spectrogram = _checked(spectrogram, self.bands)
        check_levels(spectrogram, name="spectrogram")
        factor = self.log_factor.to(dtype=spectrogram.dtype, device=spectrogram.device).exp()
        factor = factor[:, None]
        return torch.log1p(factor * spectrogram) / torch.log1p(factor)


def _checked(spectrogram: Tensor, bands: int) -> Tensor:
    check_floating(spectrogram, name="spectrogram")
    wanted = "bands" if bands == 1 else str(bands)
    if spectrogram.ndim < 2 or bands not in {1, spectrogram.shape[-2]}:
        raise ShapeError(
            f"spectrogram has shape {tuple(spectrogram.shape)}; expected (..., {wanted}, frames)"
        )
    if spectrogram.dtype in {torch.float16, torch.bfloat16}:
        return spectrogram.float()
    return spectrogram
