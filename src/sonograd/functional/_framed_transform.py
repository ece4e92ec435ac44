"""Spectra of frames in blocks, and the adjoint of taking them."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sonograd.errors import ShapeError

if TYPE_CHECKING:
    from sonograd.functional.stft_distances import Resolution

__all__ = ["FramedTransform"]


class FramedTransform:
    """One resolution for signals of one length: spectra, and the adjoint of taking them."""

    def __init__(self, resolution: "Resolution", window: Tensor, samples: int) -> None:
        """Prepare for signals of that many samples, of the type and device of ``window``."""
        if window.shape != (resolution.win_length,):
            raise ShapeError(
                f"a window has shape {tuple(window.shape)}; expected ({resolution.win_length},)"
            )
        self.n_fft = resolution.n_fft
        self.hop = resolution.hop_length
        self.window = window
        self.samples = samples
        self.half = resolution.n_fft // 2
        self.offset = (resolution.n_fft - resolution.win_length) // 2
        self.frames = 1 + (samples + 2 * self.half - resolution.n_fft) // resolution.hop_length
        self.bins = self.half + 1
        self.pieces = -(-resolution.win_length // resolution.hop_length)
        period = max(2 * (samples - 1), 1)
        outside = torch.arange(1, self.half + 1, device=window.device)
        before, after = outside.flip(0) % period, (outside + samples - 1) % period
        self.before = torch.minimum(before, period - before).clamp(max=samples - 1)
        self.after = torch.minimum(after, period - after).clamp(max=samples - 1)
        self.scratch: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def memory(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return memory that is kept from block to block; zeros at first.

        To get it anew for every block takes longer than to compute what is written there.
        """
        key = name, shape
        if key not in self.scratch:
            self.scratch[key] = self.window.new_zeros(shape, dtype=dtype)
        return self.scratch[key]

    def cut(self, x: Tensor) -> tuple[list[slice], list[slice]]:
        """Cut items and frames into blocks that fit the cache of a core, or a part of a GPU."""
        budget = 1 << (16 if x.device.type == "cpu" else 26)
        items = max(1, budget // (self.frames * self.bins))
        frames = self.frames if items > 1 else max(1, budget // self.bins)
        return (
            [slice(begin, begin + items) for begin in range(0, x.shape[0], items)],
            [
                slice(begin, min(begin + frames, self.frames))
                for begin in range(0, self.frames, frames)
            ],
        )

    def frame(self, x: Tensor) -> Tensor:
        """Map ``(items, samples)`` to what windows are laid on, ``(items, frames, win_length)``."""
        padded = torch.cat([x[:, self.before], x, x[:, self.after]], dim=-1)
        return padded[:, self.offset :].unfold(-1, len(self.window), self.hop)[:, : self.frames]

    def spectra(self, frames: Tensor) -> Tensor:
        """Map ``(items, frames, win_length)`` to ``(items, frames, bins)``."""
        buffer = self.memory("frames", *frames.shape[:2], self.n_fft)
        # What lies outside the window was zero from the start and remains so.
        inside = buffer[..., self.offset : self.offset + len(self.window)]
        torch.mul(frames, self.window, out=inside)
        spectra: Tensor = torch.fft.rfft(buffer)
        return spectra

    def squares(self, spectra: Tensor, name: str) -> Tensor:
        """Return squared magnitudes in memory ``name``; several times as fast as by ``abs``."""
        parts = torch.view_as_real(spectra)
        squares = self.memory("squares", *parts.shape)
        torch.square(parts, out=squares)
        power = self.memory(name, *spectra.shape)
        return torch.add(squares[..., 0], squares[..., 1], out=power)

    def empty_sum(self, items: int) -> Tensor:
        """Return where :meth:`add_frames` adds to, ``(items, rows, hop)``."""
        return self.window.new_zeros(items, self.frames - 1 + self.pieces, self.hop)

    def add_frames(self, total: Tensor, spectra: Tensor, first: int) -> None:
        """Add the adjoint of :meth:`spectra` from frame ``first`` on; overwrites ``spectra``."""
        # The inverse counts all bins twice but the outer ones.
        spectra[..., 0] *= 2
        if self.n_fft % 2 == 0:
            spectra[..., -1] *= 2
        frames = torch.fft.irfft(spectra, self.n_fft, norm="forward")
        half_window, hop = 0.5 * self.window, self.hop
        for piece in range(self.pieces):
            part = half_window[piece * hop : (piece + 1) * hop]
            begin, row = self.offset + piece * hop, first + piece
            rows = total[:, row : row + frames.shape[1], : len(part)]
            rows.addcmul_(frames[..., begin : begin + len(part)], part)

    def fold(self, total: Tensor) -> Tensor:
        """Apply the adjoint of :meth:`frame` to a sum of frames: ``(items, samples)``."""
        padded = total.new_zeros(total.shape[0], self.samples + 2 * self.half)
        covered = total.flatten(1)[:, : padded.shape[1] - self.offset]
        padded[:, self.offset : self.offset + covered.shape[1]] = covered
        x: Tensor = padded[:, self.half : self.half + self.samples].contiguous()
        x.index_add_(1, self.before, padded[:, : self.half])
        x.index_add_(1, self.after, padded[:, self.half + self.samples :])
        return x
