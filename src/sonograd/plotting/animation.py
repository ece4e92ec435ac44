"""A fit in motion: each picture is the estimate after so many steps, over the target."""

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.errors import OutputError, ParameterError, ShapeError
from sonograd.plotting.style import ACCENT, MUTED, TRUTH, canvas, headline, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Animation", "animate_fit"]

_FORMATS = ("mp4", "gif")
_MOST_FRAMES = 600
Picture = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Animation:
    """Pictures one after the other; a notebook shows them as a film.

    Attributes:
        frames: Pictures ``(height, width, 3)``, 8 bits, of one size.
        fps: Pictures per second.
    """

    frames: tuple[Picture, ...] = field(repr=False)
    fps: float

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write an mp4 (H.264) or gif file, as the ending says, and return its path.

        Raises:
            ParameterError: If the ending is another one.
            OutputError: If the file cannot be written.
        """
        target = Path(path)
        data = self.to_bytes(target.suffix.lower().removeprefix("."))
        try:
            with AtomicFile(target) as file:
                file.path.write_bytes(data)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written: {error.strerror}") from None
        return target

    def to_bytes(self, format: str) -> bytes:
        """Return the content of such a file.

        Raises:
            ParameterError: If ``format`` is neither ``"mp4"`` nor ``"gif"``.
        """
        if format not in _FORMATS:
            raise ParameterError(f"got the format {format!r}; expected {' or '.join(_FORMATS)}")
        return _mp4(self.frames, self.fps) if format == "mp4" else _gif(self.frames, self.fps)

    def _repr_html_(self) -> str:
        """Return the film as HTML that needs no other file."""
        data = base64.b64encode(self.to_bytes("mp4")).decode()
        return (
            '<video controls loop autoplay muted playsinline style="max-width: 100%">'
            f'<source type="video/mp4" src="data:video/mp4;base64,{data}"></video>'
        )


def animate_fit(
    estimates: Tensor | Sequence[Tensor],
    target: Tensor,
    *,
    sample_rate: float | None = None,
    samples: int | None = 200,
    every: int = 5,
    values: Mapping[str, Sequence[float]] | None = None,
    truth: Mapping[str, float] | None = None,
    fps: float = 20.0,
    title: str = "after {step} steps",
) -> Animation:
    """Animate how an estimate comes to its target.

    Args:
        estimates: The estimate before each step, ``(steps, samples)``, and last the result.
        target: What it should become, ``(samples,)``.
        sample_rate: In Hz, for a time axis in milliseconds; sample numbers if None.
        samples: Show the first so many; all if None.
        every: Show every so many steps, and the last.
        values: Name to the value before each step, drawn below as it moves.
        truth: True values by name.
        fps: Pictures per second.
        title: Written above, with the number of steps for ``{step}``.

    Returns:
        The film: ``animation.save("fit.mp4")``, or ``fit.gif``.

    Raises:
        ShapeError: If estimates and target do not fit each other.
        ParameterError: If there are no estimates, more than 600 pictures, or a number is wrong.
        MissingExtraError: If matplotlib is not installed.
    """
    steps = _check(estimates, target, every, fps, values)
    length = len(target) if samples is None else min(samples, len(target))
    shown = sorted({*range(0, steps, every), steps - 1})
    if len(shown) > _MOST_FRAMES:
        raise ParameterError(
            f"that would be {len(shown)} pictures; expected at most {_MOST_FRAMES}: raise every"
        )
    curves = [estimates[step].detach().cpu().double()[:length] for step in shown]
    stage = _Stage(
        target.detach().cpu().double()[:length], curves, sample_rate, values or {}, truth or {}
    )
    frames = tuple(
        stage.draw(step, curve, title) for step, curve in zip(shown, curves, strict=True)
    )
    return Animation(frames, fps)


def _check(
    estimates: Tensor | Sequence[Tensor], target: Tensor, every: int, fps: float,
    values: Mapping[str, Sequence[float]] | None,
) -> int:  # fmt: skip
    steps = len(estimates)
    if not steps or every < 1 or not fps > 0:
        raise ParameterError(
            f"got {steps} estimates, every={every} and fps={fps}; expected at least 1 each"
        )
    if target.ndim != 1 or any(estimate.shape != target.shape for estimate in estimates):
        raise ShapeError(
            f"target has shape {tuple(target.shape)} and estimates {tuple(estimates[0].shape)} "
            "each; expected (samples,) for all"
        )
    for name, series in (values or {}).items():
        if len(series) != steps:
            raise ShapeError(f"{name}: {len(series)} values for {steps} estimates")
    return steps


class _Stage:
    """The figure whose lines move."""

    def __init__(
        self, target: Tensor, curves: list[Tensor], sample_rate: float | None,
        values: Mapping[str, Sequence[float]], truth: Mapping[str, float],
    ) -> None:  # fmt: skip
        self.values = values
        self.figure, axes = canvas(1 + len(values), width=7.2, height=3.0 if not values else 2.2)
        self.top = axes[0, 0]
        time = np.arange(len(target)) * (1.0 if sample_rate is None else 1000 / sample_rate)
        self.top.plot(time, target.numpy(), color=TRUTH, linewidth=2, label="target")
        (self.line,) = self.top.plot(
            time, curves[0].numpy(), color=ACCENT, linewidth=1.4, label="estimate"
        )
        peak = max(float(x.nan_to_num().abs().max()) for x in (target, *curves)) or 1.0
        self.top.set_ylim(-1.08 * peak, 1.08 * peak)
        self.top.set_xlabel("sample" if sample_rate is None else "time (ms)")
        self.top.set_ylabel("amplitude")
        legend(self.top, loc="upper right")
        self.ways = []
        for ax, (name, series) in zip(axes[1:, 0], values.items(), strict=True):
            if name in truth:
                ax.axhline(truth[name], color=MUTED, linestyle=":", linewidth=1.2, label="truth")
            numbers = [float(value) for value in series]
            ax.plot(numbers, color=MUTED, alpha=0.25, linewidth=1)
            ax.set(xlabel="step", ylabel=name)
            (way,) = ax.plot([], [], color=ACCENT, linewidth=1.4)
            (dot,) = ax.plot([], [], "o", color=ACCENT, markersize=5)
            legend(ax, loc="upper right")
            self.ways.append((way, dot, numbers))

        self.canvas = _agg(self.figure)
        self.title = headline(self.top, "0")
        self.moving = [self.line, self.title, *(a for *pair, _ in self.ways for a in pair)]
        self._hold_still()

    def _hold_still(self) -> None:
        """Lay out and draw once what does not move."""
        self.canvas.draw()
        self.figure.set_layout_engine("none")
        for artist in self.moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def draw(self, step: int, curve: Tensor, title: str) -> Picture:
        """Return the picture of one step."""
        self.line.set_ydata(curve.numpy())
        self.title.set_text(title.format(step=step))
        for way, dot, numbers in self.ways:
            way.set_data(range(step + 1), numbers[: step + 1])
            dot.set_data([step], [numbers[step]])
        self.canvas.restore_region(self.background)
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        pixels = np.asarray(self.canvas.buffer_rgba())[..., :3]
        # Films need an even width and height.
        height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
        return np.ascontiguousarray(pixels[:height, :width])


def _agg(figure: "Figure") -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional

    return FigureCanvasAgg(figure)


def _mp4(frames: Iterable[Picture], fps: float) -> bytes:
    import av  # noqa: PLC0415 - slow to import

    pictures = tuple(frames)
    height, width = pictures[0].shape[:2]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream: Any = file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "20", "preset": "veryfast", "threads": "1"}
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return buffer.getvalue()


def _gif(frames: Iterable[Picture], fps: float) -> bytes:
    from PIL import Image  # noqa: PLC0415 - comes with matplotlib

    # One palette for all, so that colors do not flicker.
    pictures = [Image.fromarray(frame) for frame in frames]
    palette = pictures[-1].quantize(colors=128)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    flat[0].save(
        buffer, format="GIF", save_all=True, append_images=flat[1:], loop=0, optimize=False,
        duration=max(round(1000 / fps), 20), disposal=1,
    )  # fmt: skip
    return buffer.getvalue()
