"""``sonograd demo``: a song comes apart, and the result is scored where the truth is known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sonograd.data import AudioFile, read_audio, write_audio
from sonograd.data.songs import make_song
from sonograd.errors import AudioError, MissingExtraError, OutputError, ParameterError
from sonograd.functional import si_sdr
from sonograd.jobs.download import ensure_model
from sonograd.jobs.resources import peak_memory_bytes
from sonograd.jobs.separate import Progress, separate_files
from sonograd.zoo import model_names, resolve

__all__ = ["DemoReport", "DemoScore", "demo"]

_PICTURE_SECONDS = 30.0
#: Which true stems make up a stem of a model that does not name instruments.
_COMPOSITION: Mapping[str, tuple[str, ...]] = {
    "percussive": ("drums",),
    "harmonic": ("bass", "other", "vocals"),
}


@dataclass(frozen=True)
class DemoScore:
    """How near one stem came to the truth.

    Attributes:
        stem: Its name.
        si_sdr: Scale-invariant signal-to-distortion ratio of the estimate, in dB.
        mix_si_sdr: The same for the mix itself, taken as the estimate.
    """

    stem: str
    si_sdr: float
    mix_si_sdr: float

    @property
    def improvement(self) -> float:
        """What separating gained over the mix, in dB."""
        return self.si_sdr - self.mix_si_sdr


@dataclass(frozen=True)
class DemoReport:
    """What the demo made.

    Attributes:
        song: The song that was separated.
        model: Name of the model.
        stems: The files of the stems.
        picture: The spectrograms, or None where matplotlib is not installed.
        scores: One per stem whose truth is known; none for a song from a file.
        seconds: Length of the song.
        real_time_factor: Seconds of work per second of song.
        peak_memory: Highest resident memory of the process, in bytes.
    """

    song: Path
    model: str
    stems: tuple[Path, ...]
    picture: Path | None
    scores: tuple[DemoScore, ...]
    seconds: float
    real_time_factor: float
    peak_memory: int


def demo(
    song: Path | None = None,
    *,
    model: str | None = None,
    save: Path = Path("demo"),
    seconds: float = 30.0,
    seed: int = 24,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> DemoReport:
    """Separate a song, a synthetic one if none is given, and show the result.

    Args:
        song: An audio file; without one, a seeded song of drums, bass, chords and voice is made.
        model: Name, session folder or checkpoint; ``default`` where it ships, else ``hpss``.
        save: Folder for the song, its stems and the picture.
        seconds: Length of the synthetic song.
        seed: Seed of the synthetic song.
        overwrite: Replace what an earlier demo wrote.
        on_progress: Called with ``(done, total)`` in seconds of audio.

    Raises:
        ParameterError: If ``seconds`` is not positive.
        AudioError: If the song cannot be read.
        ModelNotFoundError: If there is no such model; no song is made then.
        OutputError: If ``save`` cannot be written to, or holds results and ``overwrite`` is off.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise ParameterError(f"seconds is {seconds}; expected a positive number")
    model = model or ("default" if "default" in model_names() else "hpss")
    ensure_model(model)
    resolve(model)  # before a song is made for it
    truth: dict[str, Tensor] = {}
    if song is None:
        song, truth = _write_song(save, seconds=seconds, seed=seed, overwrite=overwrite)
    report = separate_files(model, [song], save=save, overwrite=overwrite, on_progress=on_progress)
    for failure in report.failed:
        raise AudioError(failure.message)
    if report.skipped:
        raise OutputError(
            f"{report.skipped[0].folder}: holds the stems of an earlier run; "
            "pass --overwrite to replace them, or another --save"
        )
    result = report.done[0]
    stems = {path.stem: path for path in result.files}
    return DemoReport(
        song=song,
        model=model,
        stems=tuple(result.files),
        picture=_draw(song, stems, result.folder / "spectrogram.png"),
        scores=_score(song, stems, truth),
        seconds=result.seconds,
        real_time_factor=result.real_time_factor,
        peak_memory=peak_memory_bytes(),
    )


def _write_song(
    save: Path, *, seconds: float, seed: int, overwrite: bool
) -> tuple[Path, dict[str, Tensor]]:
    """Make a song; return its file and its true stems."""
    made = make_song(seed, seconds=seconds)
    path = save / "song.wav"
    try:
        save.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{save}: cannot be written to: {error.strerror}") from None
    write_audio(path, made.stems.sum(0), made.sample_rate, bits="32f", overwrite=overwrite)
    return path, dict(zip(made.names, made.stems, strict=True))


def _score(
    song: Path, stems: Mapping[str, Path], truth: Mapping[str, Tensor]
) -> tuple[DemoScore, ...]:
    """Score every stem whose truth can be put together from ``truth``."""
    scores = []
    for stem, path in stems.items():
        parts = _COMPOSITION.get(stem, (stem,))
        if not truth.keys() >= set(parts):
            continue
        reference = torch.stack([truth[part] for part in parts]).sum(0).flatten().double()
        if not reference.any():
            continue  # nothing is a multiple of silence: no ratio is defined
        estimate, mix = (read_audio(file)[0].flatten().double() for file in (path, song))
        scores.append(
            DemoScore(stem, float(si_sdr(estimate, reference)), float(si_sdr(mix, reference)))
        )
    return tuple(scores)


def _draw(song: Path, stems: Mapping[str, Path], path: Path) -> Path | None:
    """Draw the beginning of the song and its stems; None where matplotlib is not installed."""
    from sonograd.plotting import compare

    signals = {}
    for name, file in {song.stem: song, **stems}.items():
        with AudioFile(file) as audio:
            sample_rate = audio.info.sample_rate
            signals[name] = audio.read(0, round(_PICTURE_SECONDS * sample_rate))
    if any(signal.shape[-1] == 0 for signal in signals.values()):
        return None
    try:
        figure = compare(signals, sample_rate=sample_rate)
    except MissingExtraError:
        return None
    figure.savefig(path)
    return path
