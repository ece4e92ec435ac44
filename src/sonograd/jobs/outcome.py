"""What became of the songs of one run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["EventKind", "SeparationEvent", "SeparationReport", "SongOutcome"]

EventKind: TypeAlias = Literal["started", "done", "skipped", "failed", "warning"]


@dataclass(frozen=True)
class SeparationEvent:
    """Something worth telling while the job runs.

    Attributes:
        kind: What happened.
        source: The song it happened to.
        message: One line about it; empty for ``started``.
    """

    kind: EventKind
    source: Path
    message: str = ""


@dataclass(frozen=True)
class SongOutcome:
    """What became of one song.

    Attributes:
        source: The song's file, or what was given instead of one.
        folder: Where its stems lie, or would have.
        files: The files of the stems; for a skipped song, those that were there before.
        seconds: Seconds of audio that were separated.
        elapsed_seconds: Seconds that this took.
        gain_db: Gain that all stems got so that none clips.
        message: One line for people: speed and gain, why it was skipped, or what is wrong.
    """

    source: Path
    folder: Path
    files: tuple[Path, ...] = ()
    seconds: float = 0.0
    elapsed_seconds: float = 0.0
    gain_db: float = 0.0
    message: str = ""

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio; below 1 is faster than real time."""
        return self.elapsed_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class SeparationReport:
    """What became of all songs.

    Attributes:
        done: Songs whose stems were written.
        skipped: Songs whose stems were there before.
        failed: Songs, and arguments that are none, with the reason in ``message``.
        started: Number of songs whose separation began.
    """

    done: tuple[SongOutcome, ...] = ()
    skipped: tuple[SongOutcome, ...] = ()
    failed: tuple[SongOutcome, ...] = ()
    started: int = 0

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 1 some failed, 2 nothing was started."""
        if not self.failed:
            return 0
        return 1 if self.started or self.skipped else 2
