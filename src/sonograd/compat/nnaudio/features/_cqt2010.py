"""The layers of ``CQT`` that share the kernels of one octave."""

import math

import numpy as np
import torch
from torch import Tensor

from sonograd.compat.nnaudio._arguments import check_constant_q
from sonograd.compat.nnaudio._bank import KernelBank
from sonograd.compat.nnaudio._layer import check_form, flat_signals
from sonograd.compat.nnaudio._windows import Array, Window
from sonograd.compat.nnaudio.features._constant_q import (
    ConstantQLayer,
    apply_spectra,
    convolution,
    fourier_kernel,
    hold,
    kernel_spectrum,
    make_bank,
)
from sonograd.compat.nnaudio.features._shared_octaves import Apply, nnaudio_octaves, octaves
from sonograd.compat.nnaudio.utils import (
    bins_that_fit,
    create_cqt_kernels,
    create_lowpass_filter,
    get_early_downsample_params,
)
from sonograd.errors import ParameterError
from sonograd.functional.framing import PadMode, check_pad_mode, extend

__all__ = ["CQT2010", "CQT2010v2", "SharedOctaves"]


class SharedOctaves(ConstantQLayer):
    """What the layers that decimate share: their plan, and how its results become right.

    Fixed kernels are not decimated at all: the result is that of :class:`CQT1992v2`. Kernels that
    are trained are shared by all octaves, and the decimation is exact. ``legacy`` has nnAudio's
    half sample of delay per octave, and its errors when it decimates early.
    """

    _bank: KernelBank | None
    early_downsample_filter: Tensor | None

    def _plan(
        self,
        *,
        sr: float,
        hop_length: int,
        fmin: float,
        n_bins: int,
        bins_per_octave: int,
        filter_scale: float,
        earlydownsample: bool,
        gamma: float = 0.0,
    ) -> float:
        """Set the attributes of nnAudio; return the rate of the top octave in Hz."""
        if n_bins < 1:
            raise ParameterError(f"n_bins is {n_bins}; expected at least 1")
        self.n_bins = n_bins
        self.n_octaves = math.ceil(n_bins / bins_per_octave)
        self.frequencies: Array = fmin * 2.0 ** (np.arange(n_bins) / bins_per_octave)
        top = float(self.frequencies[-1])
        if top > sr / 2:
            raise ParameterError(
                f"the top bin, {top:.1f} Hz, lies above the Nyquist frequency, {sr / 2:.1f} Hz; "
                + bins_that_fit(sr, fmin, bins_per_octave)
            )
        self.fmin_t = top / 2 ** (1 - 1 / bins_per_octave)
        alpha = 2 ** (1 / bins_per_octave) - 1
        q = filter_scale / alpha
        self.earlydownsample, self.downsample_factor = False, 1
        rate, hop, kernel = sr, hop_length, None
        with torch.device("cpu"):
            if earlydownsample:
                rate, hop, self.downsample_factor, kernel, self.earlydownsample = (
                    get_early_downsample_params(sr, hop_length, top, q, self.n_octaves, False)
                )
            lowpass = torch.tensor(create_lowpass_filter(0.5, 256, 0.001))[None, None]
        self.hop_length = hop if self.legacy else hop_length
        self.constant("lowpass_filter", lowpass)
        if kernel is not None:
            self.constant("early_downsample_filter", kernel)
        else:
            self.early_downsample_filter = None
        length_rate = rate if self.legacy else sr
        lengths = np.ceil(q * length_rate / (self.frequencies + gamma / alpha))
        self.constant("lenghts", lengths.astype(np.float32))
        return rate

    def _full_bank(
        self, sr: float, fmin: float, bins_per_octave: int, filter_scale: float,
        norm: float | None, window: Window, gamma: float = 0.0,
    ) -> None:  # fmt: skip
        """Make the kernels of all octaves at the rate of the signal."""
        q = filter_scale / (2 ** (1 / bins_per_octave) - 1)
        with torch.device("cpu"):
            kernels, *_ = create_cqt_kernels(
                q, sr, fmin, self.n_bins, bins_per_octave, norm, window, gamma=gamma
            )
        self._half = kernels.shape[1] // 2
        self._bank = make_bank(self, kernels, self.hop_length)

    def _spectrum(self, x: Tensor, kernels: list[Apply], widths: list[int]) -> Tensor:
        if self._bank is not None:
            x = extend(x, -self._half, x.shape[-1] + self._half, pad_mode=self.pad_mode)
            frames = (x.shape[-1] - 2 * self._half) // self.hop_length + 1
            y: Tensor = self._bank(x, origin=self._half, frames=frames)
            return y
        factor = self.downsample_factor
        if not self.legacy:
            y = octaves(
                x, kernels, widths, hop_length=self.hop_length, factor=factor,
                pad_mode=self.pad_mode,
            )  # fmt: skip
        else:
            y = nnaudio_octaves(
                x, kernels, widths, hop_length=self.hop_length, factor=factor,
                early_filter=self.early_downsample_filter, lowpass=self.lowpass_filter,
                pad_mode=self.pad_mode,
            )  # fmt: skip
        return y[:, -self.n_bins :]


class CQT2010v2(SharedOctaves):
    """``nnAudio.features.CQT2010v2``: a constant-Q transform octave by octave.

    The result is that of :class:`CQT1992v2`, of which nnAudio's differs: its phases drift, its
    levels are wrong by the root of the early decimation (which the defaults cause at 44.1 kHz),
    ``window`` has no effect, and hops that are not divisible by two often enough fail. ``legacy``
    gives those results. With ``trainable`` the kernels of one octave, ``(bins_per_octave, 1,
    n_fft)``, are parameters that all octaves share.
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
        rate = self._plan(
            sr=sr, hop_length=hop_length, fmin=fmin, n_bins=n_bins,
            bins_per_octave=bins_per_octave, filter_scale=filter_scale,
            earlydownsample=earlydownsample,
        )  # fmt: skip
        q = filter_scale / (2 ** (1 / bins_per_octave) - 1)
        shape = "hann" if legacy else window
        with torch.device("cpu"):
            self.basis, self.n_fft, *_ = create_cqt_kernels(
                q, rate, self.fmin_t, min(bins_per_octave, n_bins), bins_per_octave,
                norm=basis_norm, window=shape, topbin_check=False,
            )  # fmt: skip
        self._bank = None
        if trainable:
            self.parameter("cqt_kernels_real", self.basis.real[:, None].copy())
            self.parameter("cqt_kernels_imag", self.basis.imag[:, None].copy())
        else:
            self.offer("cqt_kernels_real", "cqt_kernels_imag")
            if not legacy:
                self._full_bank(sr, fmin, bins_per_octave, filter_scale, basis_norm, window)

    def make(self, name: str) -> Tensor:
        """Return the real or imaginary parts of the kernels of the top octave."""
        part = self.basis.real if name == "cqt_kernels_real" else self.basis.imag
        return torch.tensor(part[:, None].copy())

    def forward(
        self,
        x: Tensor,
        output_format: str | None = None,
        normalization_type: str = "librosa",
    ) -> Tensor:
        """Transform signals, see :meth:`CQT1992v2.forward`."""
        signals, lead = flat_signals(x)
        kernels: list[Apply] = []
        if self._bank is None:
            weights = torch.cat([self.cqt_kernels_real, -self.cqt_kernels_imag])
            kernels = [convolution(weights.to(signals.dtype))] * self.n_octaves
        y = self._spectrum(signals, kernels, [self.n_fft] * self.n_octaves)
        if self.legacy:
            y = y * self.downsample_factor
        return self._finish(y, lead, output_format, normalization_type)


class CQT2010(SharedOctaves):
    """``nnAudio.features.CQT2010``: :class:`CQT2010v2` by way of an STFT.

    nnAudio's errors are those of that class, with levels too low by the root of the early
    decimation and the conjugate of the spectrum; ``legacy`` gives those results. With
    ``trainable_STFT`` its sines and cosines are parameters, with ``trainable_CQT`` the spectra of
    the kernels that all octaves share.
    """

    def __init__(
        self,
        sr: float = 22050,
        hop_length: int = 512,
        fmin: float = 32.70,
        fmax: float | None = None,
        n_bins: int = 84,
        bins_per_octave: int = 12,
        norm: bool = True,
        basis_norm: float | None = 1,
        window: Window = "hann",
        pad_mode: PadMode = "reflect",
        trainable_STFT: bool = False,  # noqa: N803 - of the signature
        filter_scale: float = 1,
        trainable_CQT: bool = False,  # noqa: N803
        output_format: str = "Magnitude",
        earlydownsample: bool = True,
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
        self.trainable, self.legacy = False, legacy
        rate = self._plan(
            sr=sr, hop_length=hop_length, fmin=fmin, n_bins=n_bins,
            bins_per_octave=bins_per_octave, filter_scale=filter_scale,
            earlydownsample=earlydownsample,
        )  # fmt: skip
        q = filter_scale / (2 ** (1 / bins_per_octave) - 1)
        with torch.device("cpu"):
            self.basis, self.n_fft, *_ = create_cqt_kernels(
                q, rate, self.fmin_t, min(bins_per_octave, n_bins), bins_per_octave,
                norm=basis_norm, window="hann" if legacy else window, topbin_check=False,
            )  # fmt: skip
        self.bins2freq = [k * rate / self.n_fft for k in range(self.n_fft // 2 + 1)]
        direct = trainable_STFT or trainable_CQT or legacy
        hold(self, ("wsin", "wcos"), trainable_STFT, kept=direct)
        hold(self, ("cqt_kernels_real", "cqt_kernels_imag"), trainable_CQT, kept=direct)
        self._bank = None
        if not direct:
            self._full_bank(sr, fmin, bins_per_octave, filter_scale, basis_norm, window)

    def make(self, name: str) -> Tensor:
        """Return sines or cosines ``(bins, 1, n_fft)``, or spectra of kernels."""
        if name in {"wsin", "wcos"}:
            return fourier_kernel(name, self.n_fft)
        return kernel_spectrum(name, self.basis)

    def forward(
        self,
        x: Tensor,
        output_format: str | None = None,
        normalization_type: str = "librosa",
    ) -> Tensor:
        """Transform signals, see :meth:`CQT1992v2.forward`."""
        signals, lead = flat_signals(x)

        def apply(y: Tensor, hop: int) -> Tensor:
            return apply_spectra(self, y, hop) / self.n_fft

        y = self._spectrum(signals, [apply] * self.n_octaves, [self.n_fft] * self.n_octaves)
        if self.legacy and normalization_type == "convolutional":
            y = y * self.n_fft
        if self.legacy:
            y = y.conj()
        return self._finish(y, lead, output_format, normalization_type)
