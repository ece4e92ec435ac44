"""What training tells about itself: events for whoever watches, and a table on disk."""

import csv
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sonograd.errors import OutputError

__all__ = ["LOG_NAME", "LogTable", "OnEvent", "TrainingEvent"]

#: Table of losses and scores in a session folder.
LOG_NAME = "log.csv"


@dataclass(frozen=True)
class TrainingEvent:
    """Where training stands.

    Attributes:
        step: Steps done.
        epoch: Epochs done.
        chunks: Chunks done, over all devices.
        fraction: Part of the whole training that is done, from 0 to 1.
        minutes: Minutes spent on it, over all runs.
        loss: Mean loss since the last event.
        lr: Learning rate.
        chunks_per_second: Speed since the last event, over all devices.
        scores: Validation loss and scores in dB, if this event is a validation.
        ends_epoch: Whether an epoch has just ended, validated or not.
    """

    step: int
    epoch: int
    chunks: int
    fraction: float
    minutes: float
    loss: float
    lr: float
    chunks_per_second: float
    scores: Mapping[str, float] = field(default_factory=dict)
    ends_epoch: bool = False


OnEvent: TypeAlias = Callable[[TrainingEvent], None]


class LogTable:
    """A CSV file with one row per event; scores are empty except for validations."""

    def __init__(self, path: str | os.PathLike[str], stems: tuple[str, ...], *, step: int) -> None:
        """Open the table and drop rows after ``step``, where training goes on from.

        Raises:
            OutputError: If the file cannot be written.
        """
        self.path = Path(path)
        scores = [
            "validation_loss",
            "sdr",
            "si_sdr",
            *(f"{kind}_{stem}" for kind in ("sdr", "si_sdr") for stem in stems),
        ]
        self.columns = ["step", "epoch", "minutes", "lr", "loss", "chunks_per_second", *scores]
        kept = [row for row in self._rows() if int(row["step"]) <= step] if step else []
        self._write("w", [dict.fromkeys(self.columns, "") | row for row in kept])

    def _rows(self) -> list[dict[str, str]]:
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error):
            return []
        known = [{name: row.get(name) or "" for name in self.columns} for row in rows]
        return [row for row in known if row["step"].isdigit()]

    def _write(self, mode: str, rows: list[dict[str, str]]) -> None:
        try:
            with self.path.open(mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, lineterminator="\n")
                if mode == "w":
                    writer.writeheader()
                writer.writerows(rows)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}.") from None

    def add(self, event: TrainingEvent) -> None:
        """Append a row."""
        row = {
            "step": str(event.step),
            "epoch": str(event.epoch),
            "minutes": f"{event.minutes:.3f}",
            "lr": f"{event.lr:.6g}",
            "loss": f"{event.loss:.6f}",
            "chunks_per_second": f"{event.chunks_per_second:.2f}",
        }
        row |= {name: f"{value:.4f}" for name, value in event.scores.items()}
        self._write("a", [{name: row.get(name, "") for name in self.columns}])
