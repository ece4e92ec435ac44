"""The one shape convention, and its checks.

Audio is ``(..., channels, samples)``, signals are ``(..., samples)``, spectra are complex
``(..., bins, frames)`` and stems are ``(..., stems, channels, samples)``. A wrong layout is
refused with the remedy in the message, never guessed.
"""

from typing import TYPE_CHECKING

from sonograd.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_audio", "check_batch", "check_floating", "check_same_shape"]


def check_floating(x: "Tensor", *, name: str = "x") -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless ``x`` is a real floating-point tensor."""
    if not hasattr(x, "is_floating_point"):
        raise ShapeError(
            f"{name} is a {type(x).__name__}; expected a tensor. "
            f"For an array pass torch.from_numpy({name}), for a list torch.tensor({name})."
        )
    if not x.is_floating_point():
        raise ShapeError(
            f"{name} has dtype {x.dtype}; expected a real floating-point tensor. "
            f"For 16-bit integers pass {name} / 32768."
        )


def check_audio(x: "Tensor", *, name: str = "x", channels: int | None = None) -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless ``x`` is ``(..., channels, samples)``.

    Args:
        x: The tensor to look at.
        name: What the caller calls it.
        channels: The number of channels that is needed, if any number will not do.
    """
    got = f"{name} has shape {tuple(x.shape)}"
    if x.ndim < 2:
        raise ShapeError(
            f"{got}; expected (..., channels, samples). "
            f"For a mono signal, add the channel axis: {name}.unsqueeze(-2)."
        )
    check_floating(x, name=name)
    if channels is not None and x.shape[-2] != channels:
        hint = (
            f"Is it (samples, channels)? Then pass {name}.mT."
            if x.shape[-1] == channels
            else f"This model was built for {channels}."
        )
        raise ShapeError(f"{got}: {x.shape[-2]} channels, expected {channels}. {hint}")
    if channels is None and x.shape[-2] > 64 and x.shape[-2] > x.shape[-1]:
        raise ShapeError(
            f"{got}, which has more channels than samples. "
            f"Is it (samples, channels)? Then pass {name}.mT."
        )


def check_batch(mix: "Tensor", *, channels: int) -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless ``mix`` is ``(batch, channels, samples)``.

    Args:
        mix: What the ``forward`` of a separator was given.
        channels: The number of channels that it needs.
    """
    if mix.ndim != 3:
        hint = " Add the axis: mix.unsqueeze(0)." if mix.ndim == 2 else ""
        raise ShapeError(
            f"mix has shape {tuple(mix.shape)}; expected (batch, channels, samples).{hint} "
            "separate(mix) takes any leading dimensions."
        )
    check_audio(mix, name="mix", channels=channels)


def check_same_shape(estimate: "Tensor", reference: "Tensor") -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless both have one shape (no broadcasting)."""
    if estimate.shape != reference.shape:
        raise ShapeError(
            f"estimate has shape {tuple(estimate.shape)} but reference has "
            f"{tuple(reference.shape)}; they must be equal (nothing is broadcast)."
        )
