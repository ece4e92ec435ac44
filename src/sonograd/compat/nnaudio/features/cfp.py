"""``CFP`` and ``Combined_Frequency_Periodicity``."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.compat.nnaudio._layer import Layer, flat_signals, unflatten
from sonograd.compat.nnaudio._windows import Array, get_window
from sonograd.frontends.cepstral import CombinedFrequencyPeriodicity as FrontEnd
from sonograd.functional import stft

__all__ = ["CFP", "Combined_Frequency_Periodicity"]


class Combined_Frequency_Periodicity(Layer):  # noqa: N801 - nnAudio's name
    """``nnAudio.features.Combined_Frequency_Periodicity``: four spectra on a scale of pitches.

    Other than there, bins lie where their frequencies are (nnAudio's grid is off by one bin at
    its end), no pitch is empty (nnAudio's lowest one is, and those between two lags of the
    cepstrum, or exactly on one), gradients exist, and ``t`` counts samples. ``legacy`` has
    nnAudio's maps.
    """

    def __init__(
        self,
        fr: float = 2,
        fs: float = 16000,
        hop_length: int = 320,
        window_size: int = 2049,
        fc: float = 80,
        tc: float = 1 / 1000,
        g: Sequence[float] = (0.24, 0.6, 1),
        NumPerOct: int = 48,  # noqa: N803 - of the signature
        *,
        legacy: bool = False,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        with torch.device("cpu"):
            self._front = FrontEnd(
                sample_rate=fs, hop_length=hop_length, win_length=window_size,
                n_fft=2 * round(fs / fr / 2), fmin=fc, fmax=1 / tc, bins_per_octave=NumPerOct,
                exponents=g,
            )  # fmt: skip
        self._front.to(self._place.device)
        self.window_size, self.hop_length, self.g = window_size, hop_length, list(g)
        self.N = self._front.n_fft
        self.pad_value = self.N - window_size
        self.NumofLayer = len(g)
        self.tc_idx, self.fc_idx = round(fs * tc), round(fc / fr)
        self.HighFreqIdx, self.HighQuefIdx = round(1 / tc / fr) + 1, round(fs / fc) + 1
        self.f: Array = np.arange(self.HighFreqIdx) * fs / self.N
        self.q: Array = np.arange(self.HighQuefIdx) / fs
        self.t: Array = np.zeros(0)
        self.legacy = legacy
        self.constant("h", get_window("blackmanharris", window_size, False).astype(np.float32))
        if legacy:
            pitches = fc * 2 ** (
                np.arange(math.ceil(math.log2(1 / tc / fc)) * NumPerOct) / NumPerOct
            )
            pitches = pitches[pitches < 1 / tc]
            self.f = fs * np.linspace(0, 0.5, self.N // 2)[: self.HighFreqIdx]
            by_bin = nnaudio_map(pitches, self.f, pitches / fr, filled=True)
            self.constant("freq2logfreq_matrix", by_bin)
            with np.errstate(divide="ignore"):
                by_lag = nnaudio_map(pitches, 1 / self.q, fs / pitches, filled=False)
            self.constant("quef2logfreq_matrix", by_lag)
        else:
            self.offer("freq2logfreq_matrix", "quef2logfreq_matrix")

    def make(self, name: str) -> Tensor:
        """Return the map of spectra or cepstra to pitches."""
        tables = {
            "freq2logfreq_matrix": "bin_map",
            "quef2logfreq_matrix": "period_map",
        }
        found: Tensor = getattr(self._front, tables[name])
        return found

    def _parts(self, x: Tensor) -> tuple[list[Tensor], torch.Size]:
        signals, lead = flat_signals(x)
        stop = math.ceil(x.shape[-1] / self.hop_length) * self.hop_length
        self.t = np.arange(self.hop_length, stop, self.hop_length)
        if self.legacy:
            return self._nnaudio_parts(signals), lead
        return list(self._front.parts(signals)), lead

    def _nnaudio_parts(self, x: Tensor) -> list[Tensor]:
        spectrum = stft(
            x, n_fft=self.N, hop_length=self.hop_length, window=self.h, pad_mode="constant",
            win_length=self.window_size,
        )  # fmt: skip
        magnitude = spectrum.abs() / self.h.norm()
        last = _power(torch.cat([magnitude, magnitude[:, 1:-1].flip(1)], 1), self.g[0])
        cepstrum = last
        for level, exponent in enumerate(self.g[1:]):
            # Both ends are cut, one number more at the upper one than symmetry wants.
            cut = self.fc_idx if level % 2 else self.tc_idx
            even = torch.fft.fft(cepstrum if level % 2 else last, dim=1, norm="ortho").real
            kept = nnf.pad(_power(even[:, cut:-cut], exponent), (0, 0, cut, cut))
            last, cepstrum = (kept, cepstrum) if level % 2 else (last, kept)
        by_bin = self.freq2logfreq_matrix.to(x.dtype)
        by_lag = self.quef2logfreq_matrix.to(x.dtype)
        return [
            by_bin @ magnitude[:, : self.HighFreqIdx],
            by_bin @ last[:, : self.HighFreqIdx],
            by_lag @ cepstrum[:, : self.HighQuefIdx],
        ]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Transform ``(batch, samples)``.

        Returns:
            The product of the last two, the magnitude spectrum, the compressed spectrum and the
            cepstrum, each ``(batch, pitches, frames)`` without the first and the last frame.
        """
        parts, lead = self._parts(x)
        plain, spectrum, cepstrum = (unflatten(part[..., 1:-1], lead) for part in parts)
        return spectrum * cepstrum, plain, spectrum, cepstrum


class CFP(Combined_Frequency_Periodicity):
    """``nnAudio.features.CFP``: the product alone, with all frames."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return ``(batch, pitches, frames)`` of ``(batch, samples)``."""
        (_, spectrum, cepstrum), lead = self._parts(x)
        return unflatten(spectrum * cepstrum, lead)


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return ``max(x, 0) ** exponent``, the logarithm for 0; with finite gradients."""
    if exponent == 0:
        return (x.relu() + 1e-8).log()
    positive = x > 0
    return torch.where(positive, x.where(positive, 1.0) ** exponent, 0.0)


def nnaudio_map(pitches: Array, places: Array, rows: Array, *, filled: bool) -> Array:
    """Return nnAudio's triangles: weights of ``places`` in Hz for each pitch but the last.

    Args:
        pitches: In Hz, rising.
        places: In Hz, of the bins or lags.
        rows: Where the pitches lie among them; the triangles are cut there.
        filled: Give a triangle between two bins one of them.
    """
    weights = np.zeros((len(pitches) - 1, len(places)), dtype=np.float32)
    for i in range(1, len(pitches) - 1):
        low, middle, high = pitches[i - 1 : i + 2]
        first, last = sorted((round(rows[i - 1]), round(rows[i + 1])))
        if filled and first >= last:
            weights[i, first] = 1.0
            continue
        part = places[first : last + 1]
        rising, falling = (part - low) / (middle - low), (high - part) / (high - middle)
        inside = np.where(part < middle, rising, falling) * (part != middle)
        weights[i, first : last + 1] = np.maximum(inside, 0.0)
    return weights
