"""``CQT``: constant-Q transforms under nnAudio's five names."""

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.compat.nnaudio._arguments import check_constant_q
from sonograd.compat.nnaudio._layer import check_form, flat_signals
from sonograd.compat.nnaudio._windows import Window
from sonograd.compat.nnaudio.features._constant_q import (
    ConstantQLayer,
    apply_spectra,
    check_length,
    fourier_kernel,
    hold,
    kernel_spectrum,
    make_bank,
)
from sonograd.compat.nnaudio.features._cqt2010 import CQT2010, CQT2010v2
from sonograd.compat.nnaudio.utils import create_cqt_kernels
from sonograd.functional.framing import PadMode, check_pad_mode, extend

__all__ = ["CQT", "CQT1992", "CQT2010", "CQT1992v2", "CQT2010v2"]


class CQT1992v2(ConstantQLayer):
    r"""``nnAudio.features.CQT1992v2``: a constant-Q transform by kernels in the time domain.

    .. math::
        y[k, t] = c_k \sum_n \overline{g_k[n]} \, x[t H + n]

    with atoms :math:`g_k` of :math:`l_k = \lceil Q s / f_k \rceil` samples,
    :math:`\sum_n |g_k[n]| = 1`, and :math:`c_k` being :math:`\sqrt{l_k}` for
    ``normalization_type="librosa"``, 1 for ``"convolutional"`` and 2 for ``"wrap"``.

    The sum is nnAudio's to rounding. Fixed kernels run by FFT where they are long and as a matrix
    where they are short; with ``trainable`` all kernels are parameters, ``(bins, 1, width)``, and
    it is a convolution. ``legacy`` is a convolution too, whose rounding errors at -100 dB are
    those of nnAudio.
    """

    def __init__(
        self,
        sr: float = 22050,
        hop_length: int = 512,
        fmin: float = 32.70,
        fmax: float | None = None,
        n_bins: int | None = 84,
        bins_per_octave: int = 12,
        filter_scale: float = 1,
        norm: float | None = 1,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
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
        self.trainable, self.legacy = trainable, legacy
        self.hop_length, self.center, self.pad_mode = hop_length, center, pad_mode
        self.output_format = output_format
        q = filter_scale / (2 ** (1 / bins_per_octave) - 1)
        self._design = (q, sr, fmin, n_bins, bins_per_octave, norm, window, fmax)
        with torch.device("cpu"):
            kernels, self.kernel_width, lenghts, self.frequencies = create_cqt_kernels(
                *self._design
            )
        self.constant("lenghts", lenghts)
        if trainable:
            self.parameter("cqt_kernels_real", kernels.real[:, None].copy())
            self.parameter("cqt_kernels_imag", kernels.imag[:, None].copy())
            return
        self.offer("cqt_kernels_real", "cqt_kernels_imag")
        self._bank = make_bank(self, kernels, hop_length) if not legacy else None

    def make(self, name: str) -> Tensor:
        """Return the real or imaginary parts of the kernels, ``(bins, 1, width)``."""
        kernels, *_ = create_cqt_kernels(*self._design)
        part = kernels.real if name == "cqt_kernels_real" else kernels.imag
        return torch.tensor(part[:, None].copy())

    def forward(
        self,
        x: Tensor,
        output_format: str | None = None,
        normalization_type: str = "librosa",
    ) -> Tensor:
        """Transform signals.

        Args:
            x: ``(samples,)``, ``(batch, samples)`` or ``(batch, 1, samples)``.
            output_format: ``"Magnitude"``: ``(batch, bins, frames)``; ``"Complex"``, and
                ``"Phase"`` as cosine and sine: ``(batch, bins, frames, 2)``. That of the layer
                if None.
            normalization_type: ``"librosa"``, ``"convolutional"`` or ``"wrap"``.
        """
        signals, lead = flat_signals(x)
        y = self._transform(signals)
        return self._finish(y, lead, output_format, normalization_type)

    def forward_manual(self, x: Tensor) -> Tensor:
        """Return magnitudes with librosa's normalization."""
        return self.forward(x, output_format="Magnitude", normalization_type="librosa")

    def _transform(self, x: Tensor) -> Tensor:
        half = self.kernel_width // 2
        if self.center:
            x = extend(x, -half, x.shape[-1] + half, pad_mode=self.pad_mode)
        check_length(x, self.kernel_width)
        if not self.trainable and self._bank is not None:
            frames = (x.shape[-1] - self.kernel_width) // self.hop_length + 1
            spectrum: Tensor = self._bank(x, origin=half, frames=frames)
            return spectrum
        kernels = torch.cat([self.cqt_kernels_real, -self.cqt_kernels_imag]).to(x.dtype)
        parts = nnf.conv1d(x.unsqueeze(1), kernels, stride=self.hop_length)
        return torch.complex(*parts.chunk(2, 1))


class CQT(CQT1992v2):
    """``nnAudio.features.CQT``, another name of :class:`CQT1992v2`."""


class CQT1992(ConstantQLayer):
    """``nnAudio.features.CQT1992``: the transform of :class:`CQT1992v2`, by way of an STFT.

    With ``trainable_STFT`` its sines and cosines are parameters, with ``trainable_CQT`` the
    spectra of its kernels. ``normalization_type="convolutional"`` is not divided by the length of
    the STFT in nnAudio, and its phases have the wrong sign; both only with ``legacy``.
    """

    def __init__(
        self,
        sr: float = 22050,
        hop_length: int = 512,
        fmin: float = 220,
        fmax: float | None = None,
        n_bins: int | None = 84,
        trainable_STFT: bool = False,  # noqa: N803 - of the signature
        trainable_CQT: bool = False,  # noqa: N803
        bins_per_octave: int = 12,
        filter_scale: float = 1,
        output_format: str = "Magnitude",
        norm: float | None = 1,
        window: Window = "hann",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        *,
        legacy: bool = False,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order, and ``legacy``."""
        super().__init__()
        check_constant_q(fmin, fmax)
        check_pad_mode(pad_mode)
        check_form(output_format)
        self.hop_length, self.center, self.pad_mode = hop_length, center, pad_mode
        self.norm, self.output_format, self.legacy = norm, output_format, legacy
        self.trainable = False  # nnAudio has no floor below its root
        q = filter_scale / (2 ** (1 / bins_per_octave) - 1)
        self._design = (q, sr, fmin, n_bins, bins_per_octave, norm, window, fmax)
        with torch.device("cpu"):
            kernels, self.kernel_width, lenghts, self.frequencies = create_cqt_kernels(
                *self._design
            )
        self.constant("lenghts", lenghts)
        self.bins2freq = [k * sr / self.kernel_width for k in range(self.kernel_width // 2 + 1)]
        self._direct = trainable_STFT or trainable_CQT or legacy
        hold(self, ("wsin", "wcos"), trainable_STFT, kept=self._direct)
        hold(self, ("cqt_kernels_real", "cqt_kernels_imag"), trainable_CQT, kept=self._direct)
        self._bank = None if self._direct else make_bank(self, kernels, hop_length)

    def make(self, name: str) -> Tensor:
        """Return sines or cosines ``(bins, 1, width)``, or spectra of kernels."""
        if name in {"wsin", "wcos"}:
            return fourier_kernel(name, self.kernel_width)
        kernels, *_ = create_cqt_kernels(*self._design)
        return kernel_spectrum(name, kernels)

    def forward(
        self,
        x: Tensor,
        output_format: str | None = None,
        normalization_type: str = "librosa",
    ) -> Tensor:
        """Transform signals, see :meth:`CQT1992v2.forward`."""
        signals, lead = flat_signals(x)
        half = self.kernel_width // 2
        if self.center:
            signals = extend(signals, -half, signals.shape[-1] + half, pad_mode=self.pad_mode)
        check_length(signals, self.kernel_width)
        if self._bank is not None:
            frames = (signals.shape[-1] - self.kernel_width) // self.hop_length + 1
            y = self._bank(signals, origin=half, frames=frames)
        else:
            y = apply_spectra(self, signals.unsqueeze(1), self.hop_length) / self.kernel_width
        if self.legacy and normalization_type == "convolutional":
            y = y * self.kernel_width
        if self.legacy and (output_format or self.output_format) == "Phase":
            y = y.conj()
        return self._finish(y, lead, output_format, normalization_type)
