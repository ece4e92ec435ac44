"""What the layers under nnAudio's names share: shapes, pairs of real numbers, old state dicts."""

from typing import Any

import torch
from torch import Tensor, nn

from sonograd.compat.nnaudio._arguments import checked
from sonograd.errors import ShapeError
from sonograd.frontends.base import check_signal
from sonograd.functional._settings import check_option

__all__ = [
    "Layer",
    "check_form",
    "check_spectrum",
    "complex_pair",
    "flat_signals",
    "form",
    "unflatten",
]


class Layer(nn.Module):
    """A layer with nnAudio's names and shapes on one of ours.

    Fixed kernels, which nnAudio kept in its state dict, are not in ours. Those that programs read
    are made when they are read, see :meth:`offer`; a state dict of nnAudio loads all the same,
    unless its kernels are others than those of this layer.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the numbers that layers are made with be looked at before they are used."""
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]

    def __init__(self) -> None:
        """Take note of the device that new tensors go to."""
        super().__init__()
        self._offered: tuple[str, ...] = ()
        self.register_buffer("_place", torch.empty(0), persistent=False)

    def offer(self, *names: str) -> None:
        """Let the fixed kernels ``names`` be read as attributes; :meth:`make` makes them."""
        self._offered += names

    def make(self, name: str) -> Tensor:
        """Return the kernel ``name`` on the CPU."""
        raise AttributeError(name)

    def constant(self, name: str, value: Any) -> None:
        """Register a buffer that is not in the state dict."""
        with torch.device("cpu"):
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
        self.register_buffer(name, tensor.to(self._place.device), persistent=False)

    def parameter(self, name: str, value: Any) -> None:
        """Register a parameter."""
        with torch.device("cpu"):
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
        self.register_parameter(name, nn.Parameter(tensor.to(self._place.device)))

    def __getattr__(self, name: str) -> Any:
        """Return a parameter, buffer or module, or make a kernel."""
        if name in self.__dict__.get("_offered", ()):
            with torch.device("cpu"):
                kernel = self.make(name)
            return kernel.to(self._place.device)
        return super().__getattr__(name)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for name in (*self._offered, *self._non_persistent_buffers_set):
            found = state_dict.pop(prefix + name, None)
            if found is not None and name in self._offered and not _alike(self, name, found):
                error_msgs.append(
                    f"{prefix}{name} is not the fixed kernel of this layer; give the layer the "
                    "arguments it was saved with, and make it trainable if it was"
                )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _alike(layer: Layer, name: str, found: Tensor) -> bool:
    mine = getattr(layer, name)
    if mine.shape != found.shape:
        return False
    difference = (mine.to(found.device) - found).abs().max()
    return bool(difference <= 1e-3 * mine.abs().max())


def flat_signals(x: Tensor) -> tuple[Tensor, torch.Size]:
    """Return ``(batch, samples)`` and the leading axes of the result.

    nnAudio takes ``(samples,)``, ``(batch, samples)`` and ``(batch, 1, samples)`` and returns
    ``(batch, bins, frames)``; more than one channel, which it refuses, gives
    ``(batch, channels, bins, frames)``.
    """
    x = check_signal(x)
    if x.ndim > 3:
        raise ShapeError(
            f"x has shape {tuple(x.shape)}; expected (samples,), (batch, samples) or "
            "(batch, channels, samples)"
        )
    lead = torch.Size([1]) if x.ndim == 1 else x.shape[:-1]
    if len(lead) == 2 and lead[1] == 1:
        lead = torch.Size(lead[:1])
    return x.reshape(-1, x.shape[-1]), lead


def unflatten(y: Tensor, lead: torch.Size) -> Tensor:
    """Return ``y`` with its first axis split into ``lead``."""
    return y if len(lead) == 1 else y.reshape(*lead, *y.shape[1:])


def complex_pair(spectrum: Tensor) -> Tensor:
    """Return real and imaginary part along a new last axis."""
    return torch.view_as_real(spectrum.resolve_conj())


def check_form(output_format: str) -> str:
    """Return ``output_format``, refusing an unknown one."""
    return check_option(output_format, "output_format", ("Magnitude", "Complex", "Phase"))


def form(spectrum: Tensor, output_format: str, *, floor: float = 0.0) -> Tensor:
    """Give a complex spectrum the form of a constant-Q layer.

    Args:
        spectrum: ``(..., bins, frames)``.
        output_format: ``"Magnitude"``, ``"Complex"`` (two numbers along a new last axis) or
            ``"Phase"`` (cosine and sine, likewise).
        floor: Added to the power below the root.
    """
    check_form(output_format)
    if output_format == "Complex":
        return complex_pair(spectrum)
    if output_format == "Magnitude":
        if not floor:
            return spectrum.abs()
        return (spectrum.real.square() + spectrum.imag.square() + floor).sqrt()
    angle = (spectrum + 0.0).angle()  # Silence may have negative zeros.
    return torch.stack([angle.cos(), angle.sin()], -1)


def check_spectrum(X: Tensor) -> Tensor:  # noqa: N803 - of the signature
    """Return ``(batch, bins, frames)``, complex, of ``(batch, bins, frames, 2)``."""
    if X.is_complex() and X.ndim == 3:
        return X
    if X.ndim != 4 or X.shape[-1] != 2:
        raise ShapeError(
            f"X has shape {tuple(X.shape)}; expected (batch, bins, frames, 2), real and "
            "imaginary part. A magnitude spectrogram is inverted by Griffin_Lim."
        )
    return torch.view_as_complex(X.contiguous())
