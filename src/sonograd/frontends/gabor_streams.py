"""The sliced constant-Q transform and its inverse, for signals that arrive in blocks."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends.base import check_signal
from sonograd.functional.gabor_frame import GaborSpectrum
from sonograd.functional.gabor_transform import (
    check_spectrum,
    gabor_analysis,
    gabor_synthesis,
    slice_count,
)

if TYPE_CHECKING:
    from sonograd.frontends.invertible import InvertibleConstantQ

__all__ = ["AnalysisStream", "SynthesisStream"]


class AnalysisStream:
    """Transform a signal that arrives in blocks of any size.

    All slices together are, to rounding, what the layer gives for the whole signal.
    """

    def __init__(self, layer: "InvertibleConstantQ") -> None:
        """Start before the first sample of ``layer``, which must work in slices."""
        if layer.slice_length is None:
            raise ParameterError("this layer works on whole signals; pass sliced=True to stream")
        self.layer = layer
        self.size = layer.slice_length
        self._rest: Tensor | None = None
        self._received = self._taken = 0
        self._finished = False

    def push(self, block: Tensor) -> GaborSpectrum:
        """Take the next ``(..., samples)``; return the slices that are complete, perhaps none.

        Its ``samples`` are those received until now.

        Raises:
            ShapeError: If ``block`` has other leading dimensions than the ones before.
            ParameterError: If the stream has been finished.
        """
        self._check_open()
        block = check_signal(block, name="block")
        if self._rest is None:
            self._rest = block.new_zeros(*block.shape[:-1], self.layer.overlap)
        elif self._rest.shape[:-1] != block.shape[:-1]:
            raise ShapeError(
                f"block has shape {tuple(block.shape)}; expected "
                f"{(*self._rest.shape[:-1], 'samples')}, as the blocks before"
            )
        self._received += block.shape[-1]
        return self._take(torch.cat([self._rest, block], -1))

    def finish(self) -> GaborSpectrum:
        """End the signal; return the slices that are left."""
        self._check_open()
        self._finished = True
        overlap = self.layer.overlap
        nothing = self.layer.slice_window.new_zeros(overlap)
        rest = nothing if self._rest is None else self._rest
        left = slice_count(self._received, size=self.size, overlap=overlap) - self._taken
        missing = (left - 1) * (self.size - overlap) + self.size - rest.shape[-1]
        return self._take(nnf.pad(rest, (0, missing)) if left else rest)

    def _check_open(self) -> None:
        if self._finished:
            raise ParameterError("this stream is finished; start another one with stream()")

    def _take(self, waiting: Tensor) -> GaborSpectrum:
        step = self.size - self.layer.overlap
        count = max(0, (waiting.shape[-1] - self.size) // step + 1)
        self._taken += count
        self._rest = waiting[..., count * step :].clone()
        if count:
            slices = waiting.unfold(-1, self.size, step)
        else:
            slices = waiting.new_zeros(*waiting.shape[:-1], 0, self.size)
        window = self.layer.table("slice_window", waiting)
        frame = self.layer.frame(self.size, waiting)
        return gabor_analysis(slices * window, frame)._replace(samples=self._received)


class SynthesisStream:
    """Restore a signal from slices that arrive one after the other.

    All blocks together are, to rounding, what the inverse of the layer gives for all slices.
    """

    def __init__(self, layer: "InvertibleConstantQ") -> None:
        """Start before the first slice of ``layer``, which must work in slices."""
        if layer.slice_length is None:
            raise ParameterError("this layer works on whole signals; pass sliced=True to stream")
        self.layer = layer
        self.size = layer.slice_length
        self._tail: Tensor | None = None
        self._ready = -layer.overlap
        self._emitted = 0

    def push(self, spectrum: GaborSpectrum) -> Tensor:
        """Take the next slices; return the samples that are final now, ``(..., samples)``.

        Raises:
            ShapeError: If the coefficients are not those of the layer's slices, or have other
                leading dimensions than the ones before.
            ParameterError: If a value is not finite.
        """
        check_spectrum(spectrum)
        layer, step = self.layer, self.size - self.layer.overlap
        frame = layer.frame(self.size, spectrum.low)
        layer.check_frames(spectrum, frame)
        lead, tail = spectrum.low.shape[:-2], self._tail
        if spectrum.low.ndim < 2 or (tail is not None and tail.shape[:-1] != lead):
            wanted = ("...",) if tail is None else tuple(tail.shape[:-1])
            raise ShapeError(
                f"spectrum.low has shape {tuple(spectrum.low.shape)}; expected "
                f"{(*wanted, 'slices', frame.low_frames)}"
                + ("" if tail is None else ", as the spectra before")
            )
        slices = gabor_synthesis(spectrum, frame)
        slices = slices * layer.table("slice_window", slices)
        if self._tail is None:
            self._tail = slices.new_zeros(*slices.shape[:-2], layer.overlap)
        tails = torch.cat([self._tail.unsqueeze(-2), slices[..., step:]], -2)
        self._tail = tails[..., -1, :]
        body = slices[..., :step] + nnf.pad(tails[..., :-1, :], (0, step - layer.overlap))
        block = body.flatten(-2)
        # The first samples lie before the signal, the last ones may lie after it.
        start = max(0, -self._ready)
        self._ready += block.shape[-1]
        stop = max(min(self._ready, spectrum.samples), self._emitted)
        block = block[..., start : start + stop - self._emitted]
        self._emitted = stop
        return block
