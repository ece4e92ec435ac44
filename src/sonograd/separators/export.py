"""Networks without their transforms, as ONNX graphs for other runtimes."""

import os
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from sonograd.atomic import AtomicFile
from sonograd.errors import ParameterError
from sonograd.separators.base import Separator

__all__ = ["Core", "export_core"]


@runtime_checkable
class _HasCore(Protocol):
    """What a separator needs for :class:`Core`."""

    def core_inputs(self, mix: Tensor) -> tuple[Tensor, ...]: ...

    def core(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]: ...


class Core(nn.Module):
    """The network of a separator, between the transforms: what weighs, and takes the time.

    What it takes is what ``separator.core_inputs(mix)`` returns, and its result is that of
    ``separator.core``.
    """

    def __init__(self, separator: Separator) -> None:
        """Take the network out of ``separator``, which keeps it.

        Raises:
            ParameterError: If the separator has no network that could be taken out.
        """
        super().__init__()
        if not isinstance(separator, _HasCore):
            raise ParameterError(f"{type(separator).__name__} has no network without transforms")
        self.separator = separator

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network."""
        return cast("_HasCore", self.separator).core(*inputs)


def export_core(
    separator: Separator, path: str | os.PathLike[str], *, samples: int | None = None
) -> None:
    """Write the network of a separator as an ONNX graph, for batches of any size.

    Args:
        separator: A model with ``core`` and ``core_inputs``; it is put into evaluation mode.
        path: A file name that ends in ``.onnx``.
        samples: Length of the audio; what the model sees of a chunk if None.

    Raises:
        ParameterError: If the model has no such network, the name another ending, or the packages
            for it are not installed.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ParameterError(f"path is {str(path)!r}; expected a name that ends in .onnx")
    core = Core(separator.eval())
    try:
        import onnxscript  # noqa: F401, PLC0415
    except ImportError:
        raise ParameterError(
            "onnxscript is not installed; install it with: pip install 'sonograd[export]'"
        ) from None
    length = separator.plan.input_length if samples is None else samples
    device = next(separator.parameters()).device
    mix = torch.randn(2, separator.channels, length, device=device)
    with torch.no_grad():
        inputs = cast("_HasCore", separator).core_inputs(mix)
        program = torch.onnx.export(
            core,
            inputs,
            dynamo=True,
            dynamic_shapes=(tuple({0: torch.export.Dim("batch")} for _ in inputs),),
            verbose=False,
        )
    assert program is not None
    with AtomicFile(path) as file:
        program.save(file.path)
