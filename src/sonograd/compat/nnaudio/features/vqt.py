"""``VQT``: the variable-Q transform."""

import torch
from torch import Tensor

from sonograd.compat.nnaudio._arguments import check_constant_q
from sonograd.compat.nnaudio._layer import check_form, flat_signals
from sonograd.compat.nnaudio._windows import Window
from sonograd.compat.nnaudio.features._constant_q import convolution
from sonograd.compat.nnaudio.features._cqt2010 import SharedOctaves
from sonograd.compat.nnaudio.features._shared_octaves import Apply
from sonograd.compat.nnaudio.utils import create_cqt_kernels
from sonograd.functional.framing import PadMode, check_pad_mode

__all__ = ["VQT"]


class VQT(SharedOctaves):
    """``nnAudio.features.VQT``: a constant-Q transform whose bandwidths are ``gamma`` Hz wider.

    Other than in nnAudio, frequencies are right where it decimates early (which its defaults do
    at 44.1 kHz), phases do not drift, every hop works, ``window`` has an effect, and ``trainable``
    makes the kernels of each octave, ``cqt_kernels_real_0`` (the top one) and so on, parameters.
    ``legacy`` gives its results.
    """

    def __init__(
        self,
        sr: float = 22050,
        hop_length: int = 512,
        fmin: float = 32.70,
        fmax: float | None = None,
        n_bins: int = 84,
        filter_scale: float = 1,
        bins_per_octave: int = 12,
        norm: bool = True,
        basis_norm: float | None = 1,
        gamma: float = 0,
        window: Window = "hann",
        pad_mode: PadMode = "reflect",
        earlydownsample: bool = True,
        trainable: bool = False,
        output_format: str = "Magnitude",
        verbose: bool = True,
        *,
        legacy: bool = False,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order, and ``legacy``."""
        super().__init__()
        check_constant_q(fmin, fmax)
        check_pad_mode(pad_mode)
        check_form(output_format)
        self.norm, self.pad_mode, self.output_format = norm, pad_mode, output_format
        self.trainable, self.legacy = trainable, legacy
        self.sr, self.gamma, self.basis_norm = sr, gamma, basis_norm
        self.filter_scale, self.bins_per_octave = filter_scale, bins_per_octave
        self.n_filters = min(bins_per_octave, n_bins)
        self.window = window
        rate = self._plan(
            sr=sr, hop_length=hop_length, fmin=fmin, n_bins=n_bins,
            bins_per_octave=bins_per_octave, filter_scale=filter_scale,
            earlydownsample=earlydownsample, gamma=gamma,
        )  # fmt: skip
        # nnAudio makes the kernels for the rate before the early decimation.
        self._rate = sr if legacy else rate
        self._bank = None
        names = [
            f"cqt_kernels_{part}_{i}" for i in range(self.n_octaves) for part in ("real", "imag")
        ]
        if trainable:
            for name in names:
                self.parameter(name, self.make(name))
        else:
            self.offer(*names)
            if not legacy:
                self._full_bank(
                    sr, fmin, bins_per_octave, filter_scale, basis_norm, window, gamma=gamma
                )
        self.n_fft = self.make(names[-1]).shape[-1]

    def make(self, name: str) -> Tensor:
        """Return the real or imaginary parts of the kernels of one octave."""
        _, _, part, octave = name.split("_")
        q = self.filter_scale / (2 ** (1 / self.bins_per_octave) - 1)
        with torch.device("cpu"):
            basis, *_ = create_cqt_kernels(
                q, self._rate / 2 ** int(octave), self.fmin_t / 2 ** int(octave), self.n_filters,
                self.bins_per_octave, norm=self.basis_norm, topbin_check=False, gamma=self.gamma,
                window="hann" if self.legacy else self.window,
            )  # fmt: skip
            return torch.tensor((basis.real if part == "real" else basis.imag)[:, None].copy())

    def forward(
        self,
        x: Tensor,
        output_format: str | None = None,
        normalization_type: str = "librosa",
    ) -> Tensor:
        """Transform signals, see :meth:`CQT1992v2.forward`."""
        signals, lead = flat_signals(x)
        kernels: list[Apply] = []
        widths: list[int] = []
        for octave in range(self.n_octaves if self._bank is None else 0):
            real = getattr(self, f"cqt_kernels_real_{octave}")
            weights = torch.cat([real, -getattr(self, f"cqt_kernels_imag_{octave}")])
            kernels.append(convolution(weights.to(signals.dtype)))
            widths.append(real.shape[-1])
        y = self._spectrum(signals, kernels, widths)
        if self.legacy:
            y = y * self.downsample_factor
        return self._finish(y, lead, output_format, normalization_type)
