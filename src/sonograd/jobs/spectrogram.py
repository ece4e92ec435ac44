"""``sonograd spectrogram``: pictures of files of any length."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.data import AudioFile, check_finite
from sonograd.errors import AudioError, OutputError, ParameterError, SonogradError
from sonograd.jobs.catalog import find_songs
from sonograd.plotting.audio import draw
from sonograd.plotting.spectrograms import Picture, PictureMaker, SpectrogramKind
from sonograd.plotting.terminal import as_text

__all__ = ["Drawing", "DrawingReport", "draw_spectrograms"]

#: Endings of pictures that matplotlib writes.
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Drawing:
    """What became of one file.

    Attributes:
        source: The file, or what was given instead of one.
        path: Where its picture is; None if it was drawn as text, or not at all.
        text: The picture as text.
        message: What is wrong; empty if nothing is.
    """

    source: Path
    path: Path | None = None
    text: str = ""
    message: str = ""


@dataclass(frozen=True)
class DrawingReport:
    """What became of all files.

    Attributes:
        done: Files that were drawn.
        failed: Files, and arguments that are none, with the reason in ``message``.
    """

    done: tuple[Drawing, ...] = ()
    failed: tuple[Drawing, ...] = ()

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 1 some failed, 2 nothing was drawn."""
        if not self.failed:
            return 0
        return 1 if self.done else 2


def draw_spectrograms(
    audio: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    kind: SpectrogramKind = "stft",
    out: str | os.PathLike[str] | None = None,
    terminal: tuple[int, int] | None = None,
    color: bool = False,
    n_fft: int = 4096,
    bins_per_octave: int = 36,
    fmin: float | None = None,
    fmax: float | None = None,
    floor_db: float = -80.0,
    duration: float | None = None,
    repair: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[float, float], None] | None = None,
    on_drawing: Callable[[Drawing], None] | None = None,
) -> DrawingReport:
    """Draw the spectrograms of files; memory does not depend on their lengths.

    Args:
        audio: Audio files, and folders that are searched for them; one, or several.
        kind: See :func:`sonograd.plotting.spectrogram`.
        out: The picture, for one file; else a folder for ``NAME.png``. None for the current
            folder, or for no pictures if there is a ``terminal``.
        terminal: Columns and lines of the pictures as text; None for none.
        color: Use colors in text.
        n_fft: See :func:`sonograd.plotting.spectrogram`, as for the next four.
        bins_per_octave: See there.
        fmin: See there.
        fmax: See there.
        floor_db: See there.
        duration: Seconds to take from the start of each file; all of it if None.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        overwrite: Replace pictures that are there already.
        on_progress: Called with ``(done, total)`` in seconds of audio, over all files.
        on_drawing: Told about every file as it ends, well or not.

    Raises:
        ParameterError: If an argument is out of range, or ``out`` is one picture for several
            files.
        MissingExtraError: If pictures are wanted and matplotlib is not installed.
    """
    given = [audio] if isinstance(audio, str | os.PathLike) else list(audio)
    if duration is not None and not duration > 0:
        raise ParameterError(f"duration is {duration}; expected a number of seconds > 0")
    target = None if out is None and terminal is not None else Path(out or ".")
    songs, failures = find_songs(given, Path())
    failed = [Drawing(failure.source, message=failure.message) for failure in failures]
    places = _places([(song.source, song.folder) for song in songs], target)
    job = _Job(on_progress, on_drawing)
    job.failed = failed
    for drawing in failed:
        job.tell(drawing)
    for source, path in places:
        job.look_at(source, path, duration, overwrite)

    def maker(rate: int, samples: int) -> PictureMaker:
        return PictureMaker(
            kind, sample_rate=rate, samples=samples, n_fft=n_fft, fmin=fmin, fmax=fmax,
            bins_per_octave=bins_per_octave,
        )  # fmt: skip

    for source, path, samples in job.tasks:
        try:
            picture = job.read(source, samples, maker, floor_db, repair)
            text = "" if terminal is None else _text(picture, terminal, color)
            if path is not None:
                _save(picture, source, path, overwrite)
        except (SonogradError, OSError) as error:
            job.fail(source, error)
        else:
            job.finish(Drawing(source, path, text))
    return DrawingReport(tuple(job.done), tuple(job.failed))


class _Job:
    """The files behind, and the file in work."""

    def __init__(
        self,
        on_progress: Callable[[float, float], None] | None,
        on_drawing: Callable[[Drawing], None] | None,
    ) -> None:
        self._on_progress, self._on_drawing = on_progress, on_drawing
        self.done: list[Drawing] = []
        self.failed: list[Drawing] = []
        self.tasks: list[tuple[Path, Path | None, int]] = []
        self._total = self._behind = 0.0

    def look_at(
        self, source: Path, path: Path | None, duration: float | None, overwrite: bool
    ) -> None:
        """Read a header, and see whether its picture can be written."""
        try:
            with AudioFile(source) as file:
                samples, rate = file.samples, file.sample_rate
            if duration is not None:
                samples = min(samples, max(1, round(duration * rate)))
            if not samples:
                raise AudioError(f"{source}: has no samples; there is nothing to draw.")
            if path is not None and path.exists() and not overwrite:
                raise OutputError(
                    f"{path}: exists and is kept; choose another --out, or --overwrite."
                )
        except (SonogradError, OSError) as error:
            self.fail(source, error)
            return
        self._total += samples / rate
        self.tasks.append((source, path, samples))

    def read(
        self,
        source: Path,
        samples: int,
        make: Callable[[int, int], PictureMaker],
        floor_db: float,
        repair: bool,
    ) -> Picture:
        """Go through one file."""
        with AudioFile(source) as file:
            rate = file.sample_rate
            maker = make(rate, samples)

            def block(start: int, stop: int) -> Tensor:
                piece = file.read(start, stop - start)
                return check_finite(
                    piece, start=start, sample_rate=rate, name=str(source), repair=repair
                )

            maker.fill(block, lambda done: self._progress(done / rate))
            self._behind += samples / rate
            return maker.picture(floor_db=floor_db)

    def finish(self, drawing: Drawing) -> None:
        self.done.append(drawing)
        self.tell(drawing)

    def fail(self, source: Path, error: Exception) -> None:
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        message = text if str(source) in text else f"{source}: {text}"
        self.failed.append(Drawing(source, message=message))
        self.tell(self.failed[-1])

    def tell(self, drawing: Drawing) -> None:
        if self._on_drawing is not None:
            self._on_drawing(drawing)

    def _progress(self, seconds: float) -> None:
        if self._on_progress is not None:
            self._on_progress(min(self._behind + seconds, self._total), self._total)


def _places(files: list[tuple[Path, Path]], target: Path | None) -> list[tuple[Path, Path | None]]:
    """Return files, and where their pictures go."""
    if target is None:
        return [(source, None) for source, _ in files]
    if target.suffix.lower() in PICTURES and not target.is_dir():
        if len(files) > 1:
            raise ParameterError(
                f"{target} is one picture, but there are {len(files)} files; give a folder"
            )
        return [(source, target) for source, _ in files]
    if target.suffix and not target.is_dir():
        raise ParameterError(
            f"{target}: {target.suffix} is no picture; expected a folder, or one of "
            f"{', '.join(sorted(PICTURES))}"
        )
    return [(source, target / name.with_name(f"{name.name}.png")) for source, name in files]


def _text(picture: Picture, terminal: tuple[int, int], color: bool) -> str:
    columns, lines = terminal
    return as_text(picture, columns=columns, lines=lines, color=color)


def _save(picture: Picture, source: Path, path: Path, overwrite: bool) -> None:
    figure = draw(picture, title=source.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with AtomicFile(path) as file:
            figure.savefig(file.path, format=path.suffix[1:].lower())
            if path.exists() and not overwrite:
                raise OutputError(f"{path}: appeared meanwhile and is kept.")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from None
