"""Pictures of signals: waveforms and spectrograms on common scales.

Every function returns a :class:`matplotlib.figure.Figure` that belongs to no global state: save it
with ``figure.savefig(path)``. Pictures of long signals cost no more than those of short ones.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sonograd.errors import MissingExtraError, ParameterError, ShapeError
from sonograd.functional import stft
from sonograd.plotting.axes import clock, frequency_marks, time_marks
from sonograd.plotting.spectrograms import Picture, PictureMaker, SpectrogramKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["compare", "draw", "spectrogram", "waveform"]

_COLUMNS = 1200  # resolution of a picture in time
_ROWS = 320  # resolution of a picture in frequency
_SECONDS_PER_INCH = 2.0
_DECIBELS = "dB below the loudest point"
_COLORBARS = {"chroma": "share of the strongest", "mfcc": "coefficient"}


def waveform(audio: Tensor, *, sample_rate: int, title: str = "") -> "Figure":
    """Draw the envelope of a signal: the lowest and highest sample per pixel, and the RMS.

    Args:
        audio: ``(channels, samples)`` or ``(samples,)``; one row per channel.
        sample_rate: In Hz, for the time axis.
        title: Written above.

    Raises:
        ShapeError: If ``audio`` has another layout.
        MissingExtraError: If matplotlib is not installed.
    """
    channels = _channels(audio)
    figure, axes = _figure(len(channels), 1.4, _duration(channels, sample_rate))
    for number, (ax, samples) in enumerate(zip(axes, channels, strict=True)):
        _draw_envelope(ax, samples, sample_rate)
        ax.set_ylabel("amplitude" if len(channels) == 1 else f"channel {number + 1}")
    axes[0].set_title(title)
    axes[-1].set_xlabel("time (s)")
    return figure


def spectrogram(
    audio: Tensor,
    *,
    sample_rate: float,
    title: str = "",
    kind: SpectrogramKind = "stft",
    n_fft: int = 4096,
    bins_per_octave: int = 36,
    fmin: float | None = None,
    fmax: float | None = None,
    floor_db: float = -80.0,
) -> "Figure":
    """Draw a spectrogram of a signal.

    Args:
        audio: ``(channels, samples)`` or ``(samples,)``; power is averaged over channels.
        sample_rate: In Hz.
        title: Written above.
        kind: ``"stft"``, on a logarithmic frequency axis; ``"mel"`` and ``"gammatone"``, on their
            own; ``"cqt"`` and ``"vqt"`` (with the bandwidths of the ear), with the names of notes;
            ``"chroma"``, pitch classes; ``"mfcc"``, cepstral coefficients.
        n_fft: FFT length in samples, for all but ``"cqt"`` and ``"vqt"``.
        bins_per_octave: For these two.
        fmin: Lowest frequency in Hz; 30 Hz by default, C1 for ``"cqt"`` and ``"vqt"``.
        fmax: Highest frequency in Hz; half the sample rate by default.
        floor_db: Lower end of the color scale, relative to the loudest point.

    Raises:
        ShapeError: If ``audio`` has another layout.
        ParameterError: If another argument is out of range.
        MissingExtraError: If matplotlib is not installed.
    """
    channels = _channels(audio)
    maker = PictureMaker(
        kind, sample_rate=sample_rate, samples=channels.shape[-1], n_fft=n_fft,
        bins_per_octave=bins_per_octave, fmin=fmin, fmax=fmax,
    )  # fmt: skip
    maker.fill(lambda start, stop: channels[:, start:stop])
    return draw(maker.picture(floor_db=floor_db), title=title)


def draw(picture: Picture, *, title: str = "") -> "Figure":
    """Draw a :class:`~sonograd.plotting.spectrograms.Picture` with its axes.

    Args:
        picture: What to draw.
        title: Written above.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    figure, axes = _figure(1, 4.0, picture.seconds)
    ax, rows = axes[0], picture.values.shape[0]
    image = ax.imshow(
        picture.values.numpy(),
        origin="lower",
        aspect="auto",
        extent=(0.0, picture.seconds, 0.0, 1.0),
        vmin=picture.limits[0],
        vmax=picture.limits[1],
        cmap={"mfcc": "coolwarm", "chroma": "viridis"}.get(picture.kind, "magma"),
        interpolation="nearest",
    )
    marks = frequency_marks(picture)
    ax.set_yticks([place / rows for place, _ in marks], [text for _, text in marks], fontsize=7)
    times = time_marks(picture.seconds)
    ax.set_xticks(times, [clock(time) for time in times])
    ax.set_xlabel("time (s)" if picture.seconds < 60 else "time")
    ax.set_title(title, loc="left", fontsize=10)
    figure.colorbar(image, ax=list(axes), label=_COLORBARS.get(picture.kind, _DECIBELS), pad=0.01)
    return figure


def compare(
    signals: Mapping[str, Tensor],
    *,
    sample_rate: int,
    n_fft: int = 4096,
    floor_db: float = -80.0,
) -> "Figure":
    """Draw spectrograms of several signals below each other, all on one color scale.

    Args:
        signals: Title to ``(channels, samples)`` or ``(samples,)``, all of one length.
        sample_rate: In Hz.
        n_fft: FFT length in samples.
        floor_db: Lower end of the color scale, relative to the loudest point of all.

    Raises:
        ParameterError: If there is no signal, or ``floor_db`` is not negative.
        ShapeError: If a signal has another layout.
        MissingExtraError: If matplotlib is not installed.
    """
    if not signals or floor_db >= 0:
        raise ParameterError(
            f"{len(signals)} signals and floor_db={floor_db}; expected at least 1 and a floor < 0"
        )
    channels = [_channels(signal) for signal in signals.values()]
    seconds = _duration(channels[0], sample_rate)
    pictures = [_log_power(signal, sample_rate, n_fft) for signal in channels]
    top = max(*(float(picture.max()) for picture in pictures), 1e-20)
    figure, axes = _figure(len(pictures), 2.0 if len(pictures) > 1 else 4.0, seconds)
    for ax, picture, title in zip(axes, pictures, signals, strict=True):
        level = 10.0 * (picture / top).clamp(min=10.0 ** (floor_db / 10.0)).log10()
        image = ax.imshow(
            level.numpy(),
            origin="lower",
            aspect="auto",
            extent=(0.0, seconds, 0.0, 1.0),
            vmin=floor_db,
            vmax=0.0,
            cmap="magma",
            interpolation="nearest",
        )
        _label_frequencies(ax, sample_rate)
        ax.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=list(axes), label=_DECIBELS, pad=0.01)
    return figure


def _channels(audio: Tensor) -> Tensor:
    """Return ``(channels, samples)``, refusing anything else."""
    if audio.ndim not in {1, 2} or audio.shape[-1] == 0:
        raise ShapeError(
            f"audio has shape {tuple(audio.shape)}; expected (channels, samples) or (samples,), "
            "with at least one sample"
        )
    return audio.detach().to("cpu", torch.float32).reshape(-1, audio.shape[-1])


def _duration(channels: Tensor, sample_rate: int) -> float:
    return channels.shape[-1] / sample_rate


def _figure(rows: int, height: float, seconds: float) -> tuple["Figure", Any]:
    try:
        from sonograd.plotting.chart import Chart  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        raise MissingExtraError("drawing", "plot") from None
    width = min(max(6.0, seconds / _SECONDS_PER_INCH), 12.0)
    figure = Chart(figsize=(width, 0.8 + height * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)
    return figure, axes[:, 0]


def _draw_envelope(ax: "Axes", samples: Tensor, sample_rate: int) -> None:
    columns = min(_COLUMNS, len(samples))
    edges = torch.linspace(0, len(samples), columns + 1).round().long()
    pieces = [samples[a:b] for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    low = torch.stack([piece.min() for piece in pieces])
    high = torch.stack([piece.max() for piece in pieces])
    rms = torch.stack([piece.square().mean().sqrt() for piece in pieces])
    time = (edges[:-1] / sample_rate).numpy()
    ax.fill_between(time, low.numpy(), high.numpy(), color="#8da0cb", linewidth=0, step="post")
    ax.fill_between(time, -rms.numpy(), rms.numpy(), color="#34508a", linewidth=0, step="post")
    limit = max(1.0, float(samples.abs().max()))
    ax.set_ylim(-limit, limit)
    ax.set_xlim(0.0, len(samples) / sample_rate)


def _frequency_edges(sample_rate: int) -> Tensor:
    """Return the ``_ROWS + 1`` edges of the rows of a picture, in Hz."""
    low = min(30.0, sample_rate / 8)
    return torch.logspace(math.log10(low), math.log10(sample_rate / 2), _ROWS + 1)


def _log_power(channels: Tensor, sample_rate: int, n_fft: int) -> Tensor:
    """Return power ``(_ROWS, columns)`` on logarithmic frequencies, the maximum of each cell."""
    hop = max(n_fft // 8, channels.shape[-1] // _COLUMNS)
    power = torch.zeros(n_fft // 2 + 1, 1)
    for channel in channels:
        spectrum = stft(channel, n_fft=n_fft, hop_length=hop, pad_mode="constant")
        power = power + spectrum.abs().square() / len(channels)
    edges = _frequency_edges(sample_rate) * n_fft / sample_rate
    first = edges[:-1].round().long().clamp(max=n_fft // 2)
    last = torch.maximum(edges[1:].round().long(), first + 1)
    rows = [power[a:b].amax(0) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    return torch.stack(rows)


def _label_frequencies(ax: "Axes", sample_rate: int) -> None:
    edges = _frequency_edges(sample_rate)
    low, high = float(edges[0]), float(edges[-1])
    ticks = [f for f in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if low < f < high]
    places = [math.log(f / low) / math.log(high / low) for f in ticks]
    labels = [f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in ticks]
    ax.set_yticks(places, labels, fontsize=7)
