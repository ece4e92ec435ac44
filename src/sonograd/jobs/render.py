"""Run a chain of effects on files of any length."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sonograd.config import suggest
from sonograd.config.output import Bits
from sonograd.data import FORMATS, AudioFile, AudioWriter, check_finite, check_format
from sonograd.effects import Chain, Effect, Structure, read_preset
from sonograd.errors import ConfigError, OutputError, SonogradError
from sonograd.jobs.catalog import find_songs
from sonograd.jobs.outcome import SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.resources import check_space, check_writable

__all__ = ["render_files"]

Progress: TypeAlias = Callable[[float, float], None]

#: Samples per block: few enough for little memory, enough for the effects to be fast.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class _Task:
    source: Path
    target: Path
    sample_rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def render_files(
    preset: str | os.PathLike[str],
    audio: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    save: str | os.PathLike[str] = Path(),
    set: Sequence[str] = (),
    tail: float = 0.0,
    format: str = "wav",
    bits: Bits | None = None,
    overwrite: bool = False,
    repair: bool = False,
    on_progress: Progress | None = None,
    on_event: Callable[[SeparationEvent], None] | None = None,
) -> SeparationReport:
    """Process files with a preset, block by block: memory does not depend on their length.

    The result has the rate of the file, is aligned with it (the latency of the chain is made up
    for) and as long, plus ``tail``. It is called ``NAME-PRESET.wav``.

    Args:
        preset: A preset that comes with sonograd, or a JSON file.
        audio: Audio files, and folders of them, whose tree is mirrored.
        save: Folder for the results.
        set: Values that replace those of the preset, as ``"stage.parameter=number"``.
        tail: Seconds to go on after the end, for reverberation.
        format: File format of the results, a key of :data:`sonograd.data.FORMATS`.
        bits: Sample format; the file format's own if None.
        overwrite: Replace existing results; otherwise they are kept and the file is skipped.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        on_progress: Called with ``(done, total)`` in seconds of audio, over all files.
        on_event: Told about every file as it starts and ends.

    Returns:
        What became of each file.

    Raises:
        ConfigError: If the preset or an option is wrong.
        OutputError: If ``save`` cannot be written to or has too little space.
    """
    problems = _option_problems(tail, format, bits)
    chain, _ = read_preset(preset)
    changes = _changes(chain, set, problems)
    if problems:
        raise ConfigError("render", problems)
    save = Path(save)
    check_writable(save)
    job = _Job(preset, changes, tail, format, bits, overwrite, repair, on_progress, on_event)
    tasks = job.prepare([audio] if isinstance(audio, str | os.PathLike) else audio, save)
    if tasks:
        check_space(save, sum(job.bytes_needed(task) for task in tasks))
    for task in tasks:
        job.run(task)
    return SeparationReport(tuple(job.done), tuple(job.skipped), tuple(job.failed), job.started)


class _Job:
    """One run over several files."""

    def __init__(
        self,
        preset: str | os.PathLike[str],
        changes: Mapping[str, Any],
        tail: float,
        format: str,
        bits: Bits | None,
        overwrite: bool,
        repair: bool,
        on_progress: Progress | None,
        on_event: Callable[[SeparationEvent], None] | None,
    ) -> None:
        self.preset = preset
        self.changes = changes
        self.tail = tail
        self.format = format
        self.bits = bits
        self.overwrite = overwrite
        self.repair = repair
        self._on_progress = on_progress
        self._on_event = on_event
        self.done: list[SongOutcome] = []
        self.skipped: list[SongOutcome] = []
        self.failed: list[SongOutcome] = []
        self.started = 0
        self._total = 0.0
        self._behind = 0.0

    def prepare(self, audio: Iterable[str | os.PathLike[str]], save: Path) -> list[_Task]:
        """Read the headers of all files; tell what is wrong, and what exists already."""
        songs, failures = find_songs(audio, save)
        for failure in failures:
            self._fail(failure)
        ending = f"-{Path(self.preset).stem}{FORMATS[self.format].suffix}"
        tasks = []
        for song in songs:
            target = song.folder.with_name(song.folder.name + ending)
            try:
                with AudioFile(song.source) as file:
                    task = _Task(song.source, target, file.sample_rate, file.channels, file.samples)
                check_format(
                    self.format,
                    sample_rate=task.sample_rate,
                    channels=self._load(task)[0].output_channels(task.channels),
                    bits=self.bits,
                )
                check_writable(target.parent)
            except (SonogradError, OSError) as error:
                self._fail(
                    SongOutcome(song.source, target.parent, message=_line(song.source, error))
                )
                continue
            if target.exists() and not self.overwrite:
                message = f"skipped, {target} exists; --overwrite replaces it"
                self.skipped.append(
                    SongOutcome(song.source, target.parent, (target,), message=message)
                )
                self._tell("skipped", song.source, message)
                continue
            tasks.append(task)
        self._total = sum(task.seconds + self.tail for task in tasks)
        return tasks

    def bytes_needed(self, task: _Task) -> int:
        """Return about how much disk a result takes."""
        width = self._load(task)[0].output_channels(task.channels)
        return round((task.seconds + self.tail) * task.sample_rate * width * 4)

    def run(self, task: _Task) -> None:
        """Render one file; what goes wrong is reported, not raised."""
        self.started += 1
        self._tell("started", task.source)
        begin = time.perf_counter()
        try:
            clipped = self._render(task)
        except (SonogradError, OSError) as error:
            message = _line(task.source, error)
            self._fail(SongOutcome(task.source, task.target.parent, message=message))
        else:
            elapsed = time.perf_counter() - begin
            speed = f", {task.seconds / elapsed:.1f} times real time" if task.seconds else ""
            message = f"{task.target.name} in {elapsed:.1f} s{speed}"
            if clipped:
                text = f"{clipped} samples clipped; end the chain with a limiter, or use --bits 32f"
                self._tell("warning", task.source, text)
            self.done.append(
                SongOutcome(
                    task.source, task.target.parent, (task.target,), task.seconds, elapsed,
                    message=message,
                )
            )  # fmt: skip
            self._tell("done", task.source, message)
        self._behind += task.seconds + self.tail

    def _load(self, task: _Task) -> tuple[Chain, dict[str, Any]]:
        chain, values = read_preset(self.preset, task.sample_rate)
        return chain, _merge(values, self.changes)

    def _render(self, task: _Task) -> int:
        """Write one result and return the number of samples that clipped."""
        chain, values = self._load(task)
        extra = round(self.tail * task.sample_rate)
        task.target.parent.mkdir(parents=True, exist_ok=True)
        with AudioFile(task.source) as file:
            writer = AudioWriter(
                task.target,
                sample_rate=task.sample_rate,
                channels=chain.output_channels(task.channels),
                format=self.format,
                bits=self.bits,
                tags=file.info.tags,
                cover=file.info.cover,
                samples=task.samples + extra,
                overwrite=self.overwrite,
            )
            with writer:
                blocks = self._blocks(task, file, chain.latency + extra)
                for block in _process(chain, values, blocks, task.channels):
                    writer.write(block)
        return writer.clipped

    def _blocks(self, task: _Task, file: AudioFile, silence: int) -> Iterator[Tensor]:
        """Yield the file, then silence that drives out what is late."""
        position = repaired = 0
        name = str(task.source)
        for block in file.blocks(_BLOCK):
            checked = check_finite(
                block, start=position, sample_rate=task.sample_rate, name=name, repair=self.repair
            )
            if checked is not block:
                repaired += int((~block.isfinite()).sum())
            yield checked
            position += block.shape[-1]
            self._progress(position / task.sample_rate)
        for begin in range(0, silence, _BLOCK):
            yield torch.zeros(task.channels, min(_BLOCK, silence - begin))
        if repaired:
            message = f"{repaired} samples were no finite numbers and are silent now"
            self._tell("warning", task.source, message)

    def _progress(self, seconds: float) -> None:
        if self._on_progress is not None:
            self._on_progress(min(self._behind + seconds, self._total), self._total)

    def _fail(self, outcome: SongOutcome) -> None:
        self.failed.append(outcome)
        self._tell("failed", outcome.source, outcome.message)

    def _tell(self, kind: Any, source: Path, message: str = "") -> None:
        if self._on_event is not None:
            self._on_event(SeparationEvent(kind, source, message))


@torch.no_grad()
def _process(
    chain: Chain, values: Mapping[str, Any], blocks: Iterator[Tensor], channels: int
) -> Iterator[Tensor]:
    """Stream blocks ``(channels, samples)`` through the chain, without its latency."""
    state, late = chain.init_state(1, channels), chain.latency
    # Reverberation that fades into numbers below 1e-38 would take ten times as long.
    torch.set_flush_denormal(True)
    try:
        for block in blocks:
            y, state = chain.stream(block, state, **values)
            skipped = min(late, y.shape[-1])
            late -= skipped
            if not bool(y.isfinite().all()):
                raise OutputError("the result is no finite number; are the values extreme?")
            yield y[..., skipped:]
    finally:
        torch.set_flush_denormal(False)


def _option_problems(tail: float, format: str, bits: Bits | None) -> list[str]:
    problems = []
    if not 0 <= tail <= 600:
        problems.append(f"tail: got {tail}; expected 0 to 600 seconds")
    rates = FORMATS[format].sample_rates if format in FORMATS else ()
    try:
        check_format(format, sample_rate=max(rates, default=44100), channels=1, bits=bits)
    except SonogradError as error:
        problems.append(f"format: {error}")
    return problems


def _changes(chain: Chain, items: Sequence[str], problems: list[str]) -> dict[str, Any]:
    """Turn ``stage.parameter=number`` into nested values."""
    changes: dict[str, Any] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            value = float(text)
        except ValueError:
            problems.append(f"set: got {item!r}; expected stage.parameter=number")
            continue
        if name not in chain.names:
            problems.append(f"set: there is no parameter {name!r}.{suggest(name, chain.names)}")
            continue
        low, high = _range(chain, name)
        if not low <= value <= high:
            problems.append(f"set: {name} is {value}; expected {low:g} to {high:g}")
            continue
        *stages, last = name.split(".")
        inside = changes
        for stage in stages:
            inside = inside.setdefault(stage, {})
        inside[last] = value
    return changes


def _range(effect: Effect, name: str) -> tuple[float, float]:
    stage, _, rest = name.partition(".")
    if rest and isinstance(effect, Structure):
        return _range(effect.stage(stage), rest)
    return next((param.low, param.high) for param in effect.params if param.name == name)


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in changes.items():
        merged[name] = _merge(merged.get(name, {}), value) if isinstance(value, dict) else value
    return merged


def _line(source: Path, error: Exception) -> str:
    """Return an error as one line that names the file."""
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return text if str(source) in text else f"{source}: {text}"
