"""Spectrograms of every kind, collected block by block into a picture of fixed size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional import mel_filterbank, mel_frequencies, stft
from sonograd.functional._settings import check_count, check_number
from sonograd.functional.cepstral import cosine_basis
from sonograd.functional.constant_q import constant_q_bins, design_fold
from sonograd.functional.constant_q_fold import fold
from sonograd.functional.filterbanks import chroma_filterbank
from sonograd.functional.gammatone import gammatone_filterbank, gammatone_frequencies
from sonograd.functional.scales import power_to_db

__all__ = ["KINDS", "Picture", "PictureMaker", "SpectrogramKind"]

SpectrogramKind: TypeAlias = Literal["stft", "mel", "cqt", "vqt", "gammatone", "chroma", "mfcc"]
KINDS: tuple[str, ...] = get_args(SpectrogramKind)

#: Samples that are transformed at a time.
_BLOCK = 1 << 20
_ROWS = 320
_COEFFICIENTS = 20
_BANDS = {"mel": 128, "gammatone": 96, "mfcc": 128}


@dataclass(frozen=True)
class Picture:
    """Numbers to be drawn, lowest frequency first.

    Attributes:
        kind: What they are.
        values: ``(rows, columns)``: decibels below the loudest point, shares of a chroma vector in
            [0, 1], or cepstral coefficients.
        seconds: Length of the signal.
        frequencies: Of the rows in Hz, ``(rows,)``; None where rows have none.
        limits: Values at the ends of the color scale.
    """

    kind: SpectrogramKind
    values: Tensor
    seconds: float
    frequencies: Tensor | None
    limits: tuple[float, float]


class PictureMaker:
    """Makes a picture of a signal of any length in little memory.

    The power of all channels and of all frames that fall into a column is averaged.
    """

    def __init__(
        self,
        kind: SpectrogramKind = "stft",
        *,
        sample_rate: float,
        samples: int,
        n_fft: int = 4096,
        bins_per_octave: int = 36,
        fmin: float | None = None,
        fmax: float | None = None,
        columns: int = 1200,
    ) -> None:
        """Design the transform.

        Args:
            kind: ``"stft"``, ``"mel"``, ``"cqt"``, ``"vqt"``, ``"gammatone"``, ``"chroma"`` or
                ``"mfcc"``.
            sample_rate: In Hz.
            samples: Length of the signal.
            n_fft: Length of the Fourier transform, for all but ``"cqt"`` and ``"vqt"``.
            bins_per_octave: For these two.
            fmin: Lowest frequency in Hz; by default 30 Hz, and C1 (32.7 Hz) for ``"cqt"`` and
                ``"vqt"``. Pitch classes have none.
            fmax: Highest frequency in Hz; half the sample rate by default.
            columns: At most this many.

        Raises:
            ParameterError: If an argument is out of range.
        """
        if kind not in KINDS:
            raise ParameterError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        check_number("sample_rate", sample_rate, positive=True, unit="Hz")
        check_count("samples", samples)
        check_count("columns", columns)
        check_count("n_fft", n_fft, least=16)
        nyquist = sample_rate / 2
        low = min(30.0, nyquist / 4) if fmin is None else fmin
        high = nyquist if fmax is None else fmax
        if not 0 < low < high <= nyquist:
            raise ParameterError(
                f"fmin is {low:g} Hz and fmax {high:g} Hz; expected 0 < fmin < fmax <= "
                f"{nyquist:g} Hz, half the sample rate"
            )
        self.kind, self.sample_rate, self.samples = kind, sample_rate, samples
        self.n_fft, self._band = n_fft, (low, high)
        self.hop = min(n_fft // 4, max(n_fft // 64, samples // columns))
        self._transform: Callable[[Tensor], Tensor]
        self.frequencies: Tensor | None = None
        if kind in {"cqt", "vqt"}:
            self._design_bins(bins_per_octave, fmin, high)
        else:
            self._design_bank()
        frames = 1 + samples // self.hop
        self._columns, self._frames = min(columns, frames), frames
        self._power: Tensor | None = None

    def _design_bins(self, bins_per_octave: int, fmin: float | None, fmax: float) -> None:
        """Lay out a constant-Q transform; the variable one has the bandwidth of the ear."""
        c1 = 32.70319566257483
        low = min(c1, fmax / 4) if fmin is None else fmin
        bins = constant_q_bins(
            sample_rate=self.sample_rate, fmin=low, fmax=fmax, bins_per_octave=bins_per_octave,
            gamma=0.0 if self.kind == "cqt" else None,
        )  # fmt: skip
        plan, weights = design_fold(
            bins, sample_rate=self.sample_rate, hop_length=self.hop, normalization="wrap",
            tolerance=1e-3,
        )  # fmt: skip
        matrices = [weight.to(torch.float32) for weight in weights]
        self.frequencies = bins.frequencies
        self.margin = self.hop * math.ceil(float(bins.lengths.max()) / 2 / self.hop)
        self._transform = lambda x: fold(x, matrices, plan).abs().square()

    def _design_bank(self) -> None:
        """Make the filters that gather the bins of a Fourier transform; their area is one."""
        low, high = self._band
        rate, n_fft = self.sample_rate, self.n_fft
        self.margin = self.hop * math.ceil(n_fft / 2 / self.hop)
        bank: Tensor | None = None
        if self.kind in {"mel", "mfcc"}:
            count = _BANDS[self.kind]
            bank = mel_filterbank(
                sample_rate=rate, n_fft=n_fft, n_mels=count, fmin=low, fmax=high, norm="none"
            )
            self.frequencies = mel_frequencies(count + 2, fmin=low, fmax=high)[1:-1]
        elif self.kind == "gammatone":
            count = _BANDS[self.kind]
            bank = gammatone_filterbank(
                sample_rate=rate, n_fft=n_fft, n_bands=count, fmin=low, fmax=high
            )
            self.frequencies = gammatone_frequencies(count, fmin=low, fmax=high)
        elif self.kind == "chroma":
            bank = chroma_filterbank(sample_rate=rate, n_fft=n_fft)
        else:
            self.frequencies = torch.logspace(
                math.log10(low), math.log10(high), _ROWS + 1, dtype=torch.float64
            )

        def transform(x: Tensor) -> Tensor:
            spectrum = stft(x, n_fft=n_fft, hop_length=self.hop, pad_mode="constant")
            power = spectrum.abs().square()
            return power if bank is None else bank @ power

        self._transform = transform

    def fill(
        self,
        read: Callable[[int, int], Tensor],
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        """Go through the signal.

        Args:
            read: Takes the first sample and the one after the last to ``(channels, samples)``.
            on_progress: Told the samples that are done.
        """
        step = self.hop * max(1, _BLOCK // self.hop)
        for start in range(0, self.samples + 1, step):
            stop = min(start + step, self.samples)
            first, last = max(0, start - self.margin), min(self.samples, stop + self.margin)
            if first == last:
                break
            block = read(first, last).to(torch.float32)
            before, after = first - (start - self.margin), stop + self.margin - last
            block = torch.nn.functional.pad(block, (before, after))
            power = self._transform(block).mean(0)
            skip, frame = self.margin // self.hop, start // self.hop
            count = min((stop - start) // self.hop + 1, self._frames - frame)
            if stop < self.samples:
                count = min(count, step // self.hop)
            self._collect(power[:, skip : skip + count], frame)
            if on_progress is not None:
                on_progress(stop)

    def _collect(self, power: Tensor, first: int) -> None:
        """Add frames, the first of them number ``first``, to their columns."""
        if self._power is None:
            self._power = torch.zeros(power.shape[0], self._columns)
        frame = torch.arange(first, first + power.shape[1])
        self._power.index_add_(1, frame * self._columns // self._frames, power)

    def picture(self, *, floor_db: float = -80.0) -> Picture:
        """Return what was collected.

        Args:
            floor_db: Lower end of the color scale, relative to the loudest point.

        Raises:
            ParameterError: If ``floor_db`` is not negative.
        """
        if not floor_db < 0:
            raise ParameterError(f"floor_db is {floor_db}; expected a number below 0")
        total = self._power if self._power is not None else torch.zeros(1, self._columns)
        index = torch.arange(self._frames) * self._columns // self._frames
        power = total / torch.bincount(index, minlength=self._columns)
        frequencies = self.frequencies
        limits = (floor_db, 0.0)
        if self.kind == "chroma":
            limits = (0.0, 1.0)
            values = power / power.amax(0).clamp(min=1e-20)
        elif self.kind == "mfcc":
            level = power_to_db(power, top_db=-floor_db)
            values = cosine_basis(_COEFFICIENTS, level.shape[0]).to(level.dtype) @ level
            largest = max(float(values[1:].abs().max()), 1e-3)
            limits, frequencies = (-largest, largest), None
        else:
            if self.kind == "stft":
                power, frequencies = self._log_rows(power)
            top = max(float(power.max()), 1e-20)
            values = 10.0 * (power / top).clamp(min=10.0 ** (floor_db / 10.0)).log10()
        return Picture(self.kind, values, self.samples / self.sample_rate, frequencies, limits)

    def _log_rows(self, power: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maximum of the bins of each row, and the frequencies of rows in Hz."""
        assert self.frequencies is not None
        edges, highest = self.frequencies * self.n_fft / self.sample_rate, self.n_fft // 2
        first = edges[:-1].round().long().clamp(max=highest)
        last = torch.maximum(edges[1:].round().long(), first + 1)
        rows = [power[a:b].amax(0) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
        centers = (self.frequencies[:-1] * self.frequencies[1:]).sqrt()
        return torch.stack(rows), centers
