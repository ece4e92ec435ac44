"""What every front end shares: the checks of its input, and the form of its output."""

from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sonograd.errors import ShapeError
from sonograd.functional._settings import (
    check_count,
    check_finite,
    check_flag,
    check_number,
    check_option,
)
from sonograd.shapes import check_floating

__all__ = [
    "FrontEnd",
    "Output",
    "check_coefficients",
    "check_counts",
    "check_flags",
    "check_numbers",
    "check_signal",
    "present",
]

Output: TypeAlias = Literal["complex", "magnitude", "power", "phase"]


def check_counts(**values: object) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless all are whole numbers above 0."""
    for name, value in values.items():
        check_count(name, value)


def check_numbers(**values: object) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless all are finite real numbers."""
    for name, value in values.items():
        check_number(name, value)


def check_flags(**values: object) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless all are True or False."""
    for name, value in values.items():
        check_flag(name, value)


def check_signal(x: Tensor, *, name: str = "x") -> Tensor:
    """Return signals ``(..., samples)`` in the precision that they are transformed in.

    Half precision becomes float32. On the CPU values are looked at, and NaN or infinity is
    refused; on other devices, where looking would stall the program, in compiled or exported
    graphs and under ``torch.func``, they spread into the result instead.

    Raises:
        ShapeError: If ``x`` has no axis, or is not real and floating-point.
        ParameterError: If a value is not finite.
    """
    check_floating(x, name=name)
    if x.ndim < 1:
        raise ShapeError(f"{name} has no axes; expected (..., samples)")
    if x.dtype in {torch.float16, torch.bfloat16}:
        x = x.float()
    check_finite(x, name, what="samples")
    return x


def check_coefficients(spectrum: object, *, bins: int, wanted: str = "complex") -> Tensor:
    """Return coefficients ``(..., bins, frames)`` that a signal shall be made of.

    Args:
        spectrum: What the caller passed.
        bins: How many there must be.
        wanted: ``"complex"`` or ``"real"``.

    Raises:
        ShapeError: If ``spectrum`` is no tensor of that type and number of bins.
        ParameterError: If a value is not finite (looked at on the CPU only).
    """
    if not isinstance(spectrum, Tensor):
        raise ShapeError(
            f"spectrum is a {type(spectrum).__name__}; expected a {wanted} tensor. "
            "For an array pass torch.from_numpy(spectrum)."
        )
    fits = spectrum.is_complex() if wanted == "complex" else spectrum.is_floating_point()
    if spectrum.ndim < 2 or not fits or spectrum.shape[-2] != bins:
        raise ShapeError(
            f"spectrum has shape {tuple(spectrum.shape)} and dtype {spectrum.dtype}; expected "
            f"{wanted} (..., bins, frames) with {bins} bins"
        )
    check_finite(spectrum, "spectrum")
    return spectrum


def present(spectrum: Tensor, output: Output) -> Tensor:
    """Give a complex spectrum the form that was asked for, with finite gradients on silence.

    Args:
        spectrum: Complex, any shape.
        output: ``"complex"``: as it is; ``"magnitude"``: its modulus, with gradient 0 where it is
            0; ``"power"``: the square of that; ``"phase"``: its angle in radians, in (-pi, pi];
            that of 0 is 0.

    Raises:
        ShapeError: If ``spectrum`` is no complex tensor.
        ParameterError: If there is no such form.

    >>> present(torch.tensor([3.0 + 4.0j]), "power")
    tensor([25.])
    """
    check_option(output, "output", ("complex", "magnitude", "power", "phase"))
    if not isinstance(spectrum, Tensor) or not spectrum.is_complex():
        found = spectrum.dtype if isinstance(spectrum, Tensor) else type(spectrum).__name__
        raise ShapeError(f"spectrum is of type {found}; expected a complex tensor")
    if output == "magnitude" and (spectrum.requires_grad or torch.compiler.is_compiling()):
        return spectrum.abs()
    if output in {"magnitude", "power"}:
        power = spectrum.real.square() + spectrum.imag.square()
        return power if output == "power" else power.sqrt()  # Faster than abs.
    # Negative zeros, which silence may have, would turn the angle by pi.
    return spectrum if output == "complex" else (spectrum + 0.0).angle()


class FrontEnd(nn.Module):
    """A layer that takes signals ``(..., samples)`` to time and frequency.

    A subclass says how in :meth:`transform`, which gets checked signals in float32 or float64,
    outside of autocast. If it has an ``output``, its transform is complex, and is presented in
    that form; forms that it cannot give it leaves out of ``outputs``.

    Leading dimensions are kept, the device and precision follow the input, and nothing but
    trainable parameters is in the state dict. Layers whose bins are frequencies have
    ``frequencies`` in Hz.
    """

    outputs: ClassVar[tuple[Output, ...]] = ("complex", "magnitude", "power", "phase")

    def __init__(self, *, sample_rate: float, output: Output | None = None) -> None:
        """Check what all front ends share.

        Args:
            sample_rate: Samples per second.
            output: The form of the result, one of ``outputs``; None for layers without a choice.
        """
        super().__init__()
        check_number("sample_rate", sample_rate, positive=True, unit="Hz")
        if output is not None:
            check_option(output, "output", self.outputs)
        self.sample_rate = sample_rate
        self.output: Output | None = output

    def forward(self, x: Tensor) -> Tensor:
        """Transform signals ``(..., samples)``.

        Raises:
            ShapeError: If ``x`` is a scalar, or not real and floating-point.
            ParameterError: If a sample is NaN or infinite.
        """
        x = check_signal(x)
        kind = x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(x.device.type, enabled=False):
                return self._transform(x)
        return self._transform(x)

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals, float32 or float64, ``(..., samples)``."""
        raise NotImplementedError

    def _transform(self, x: Tensor) -> Tensor:
        result = self.transform(x)
        return result if self.output is None else present(result, self.output)

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        text = f"sample_rate={self.sample_rate}"
        return text if self.output is None else f"{text}, output={self.output!r}"
