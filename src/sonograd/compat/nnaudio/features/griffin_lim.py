"""``Griffin_Lim``."""

import torch
from torch import Tensor

from sonograd.compat.nnaudio._layer import Layer
from sonograd.compat.nnaudio._windows import Window, named
from sonograd.errors import ShapeError
from sonograd.frontends.griffin_lim import GriffinLim as FrontEnd
from sonograd.functional.framing import PadMode

__all__ = ["Griffin_Lim"]


class Griffin_Lim(Layer):  # noqa: N801 - nnAudio's name
    """``nnAudio.features.Griffin_Lim``: signals from magnitudes ``(batch, bins, frames)``.

    The random phases that it starts from are those of torch's generator, as there; set
    ``torch.manual_seed`` to repeat them.
    """

    w: Tensor

    def __init__(
        self,
        n_fft: int,
        n_iter: int = 32,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        momentum: float = 0.99,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        self.n_fft, self.n_iter, self.center = n_fft, n_iter, center
        self.pad_mode, self.momentum, self.device = pad_mode, momentum, device
        self.win_length = n_fft if win_length is None else win_length
        self.hop_length = n_fft // 4 if hop_length is None else hop_length
        with torch.device("cpu"):
            self._front = FrontEnd(
                n_fft=n_fft, win_length=win_length, hop_length=self.hop_length,
                window=named(window), center=center, pad_mode=pad_mode, iterations=n_iter,
                momentum=momentum, seed=None,
            )  # fmt: skip
        before = (n_fft - self.win_length) // 2
        self.constant("w", self._front.window[before : before + self.win_length].clone())
        self.to(device)

    def forward(self, S: Tensor) -> Tensor:  # noqa: N803 - of the signature
        """Return signals ``(batch, samples)``."""
        if S.ndim != 3:
            raise ShapeError(f"S has shape {tuple(S.shape)}; expected (batch, bins, frames)")
        self._front.seed = int(torch.randint(2**31, (), device="cpu"))
        signals: Tensor = self._front(S)
        return signals
