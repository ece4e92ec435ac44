"""Any callable as an effect: a plug-in, a program, a function of numpy arrays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonograd.effects import Effect
from sonograd.errors import AudioError, ParameterError, ShapeError, SonogradError
from sonograd.params import Param

__all__ = ["black_box", "is_black_box"]

Process = Callable[..., Any]
_DIFFERENCE = 1e-3  # of the range: plug-ins compute in single precision


class _BlackBox(Effect):
    """A callable ``process(x, **values)`` on ``(channels, samples)``, item by item.

    Attributes:
        difference: Step of the finite differences, as part of the range of a parameter.
    """

    difference = _DIFFERENCE
    mixes_channels = True

    def __init__(self, sample_rate: float, process: Process, params: Sequence[Param]) -> None:
        super().__init__(sample_rate)
        self._callable = process
        self.declare(params)

    def options(self) -> dict[str, Any]:
        return {}

    @classmethod
    def type_name(cls) -> str:
        return "black_box"

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        given = {name: float(v.reshape(-1)[0]) for name, v in values.items()}
        return torch.stack([self._call(item, given) for item in x]).to(x.dtype), None

    def _call(self, x: Tensor, values: Mapping[str, float]) -> Tensor:
        try:
            y = self._callable(x.float(), **values)
        except SonogradError:
            raise
        except Exception as error:
            raise ParameterError(
                f"process failed at {dict(values)}: {type(error).__name__}: {error}"
            ) from error
        if isinstance(y, np.ndarray):
            y = torch.from_numpy(np.ascontiguousarray(y))
        if not isinstance(y, Tensor):
            raise ShapeError(
                f"process returned a {type(y).__name__}; expected a tensor or array "
                "(channels, samples)"
            )
        if y.shape != x.shape:
            raise ShapeError(
                f"process returned shape {tuple(y.shape)} for {tuple(x.shape)}; expected the same. "
                "Cut off what a plug-in adds at the end, and make up for its latency."
            )
        if not bool(y.isfinite().all()):
            raise AudioError(
                f"process returned what is no finite number at {dict(values)}; expected finite "
                "samples for all values in range"
            )
        return y


def black_box(process: Process, parameters: Sequence[Param], sample_rate: float) -> Effect:
    """Make an effect of a callable.

    Args:
        process: Called as ``process(x, **values)`` with ``x`` a float32 tensor
            ``(channels, samples)`` and a number per parameter; returns the same shape, as a tensor
            or an array. It must start from rest at every call.
        parameters: Names, units, ranges and scales of the values.
        sample_rate: In Hz.

    Raises:
        ParameterError: If there are no parameters, or their names repeat.
    """
    if not callable(process):
        raise ParameterError(f"process is {process!r}; expected a callable process(x, **values)")
    names = [p.name for p in parameters if isinstance(p, Param)]
    if not names or len(names) != len(parameters) or len(set(names)) != len(names):
        raise ParameterError(
            f"parameters is {parameters!r}; expected Param objects with different names, such as "
            'Param("threshold_db", "dB", -60, 0, -20)'
        )
    return _BlackBox(sample_rate, process, parameters)


def is_black_box(effect: Effect) -> bool:
    """Tell whether an effect is a callable."""
    return isinstance(effect, _BlackBox)
