"""Score tracks one at a time: what ``test`` and ``evaluate`` share.

A track opens as often as its metrics need it, in blocks of estimate and reference, so that songs
of any length are scored in memory that most metrics keep bounded. What was scored is written down
after every track; a later run with the same settings goes on from there.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonograd import __version__
from sonograd.atomic import AtomicFile
from sonograd.config.io import read_json
from sonograd.errors import AudioError, ConfigError, OutputError, SonogradError
from sonograd.metrics import Blocks, Score, make_accumulators

__all__ = [
    "DEFAULT_METRICS",
    "Sheet",
    "Track",
    "TrackScores",
    "score_track",
    "stack_blocks",
    "write_text",
]

#: What is measured if nobody says what.
DEFAULT_METRICS = ("usdr", "si_sdr", "bss_v4")
_FORMAT = "sonograd-eval"
_VERSION = 1


@dataclass(frozen=True)
class Track:
    """A track to score.

    Attributes:
        name: Its name.
        targets: Names of what is compared, in the order of the first axis of the blocks.
        sample_rate: In Hz.
        blocks: Opens it: pairs of estimate and reference, ``(targets, channels, samples)``.
        mixture: The same with the mix in the place of every estimate; None where there is no mix.
    """

    name: str
    targets: tuple[str, ...]
    sample_rate: int
    blocks: Blocks
    mixture: Blocks | None = None


@dataclass(frozen=True)
class TrackScores:
    """What a track scored.

    Attributes:
        track: Its name.
        sample_rate: At which it was scored, in Hz.
        values: Value by name, by target; NaN where there is none.
        mixture: The same for the mix as the estimate; empty where there is none.
        frames: Values of single frames, by name, by target.
        reasons: Why values are NaN, by target.
        error: Why the track could not be scored at all, or ``""``.
        stamp: What its files were recognized by.
    """

    track: str
    sample_rate: int = 0
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    mixture: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    frames: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    stamp: str = ""


def score_track(track: Track, metrics: Sequence[str]) -> TrackScores:
    """Measure one track; what goes wrong is in its ``error``.

    Args:
        track: What to score.
        metrics: Names, see :func:`sonograd.metrics.make_accumulators`.
    """
    try:
        _check_samples(track)
        ours = _measure(track, track.blocks, metrics)
        theirs = [] if track.mixture is None else _measure(track, track.mixture, metrics)
    except (SonogradError, OSError) as error:
        return TrackScores(track.name, error=str(error))
    reasons: dict[str, list[str]] = {}
    for score in ours:
        told = reasons.setdefault(score.target, [])
        if score.reason and score.reason not in told:
            told.append(score.reason)
    return TrackScores(
        track.name,
        track.sample_rate,
        values=_by_target(ours),
        mixture=_by_target(theirs),
        frames=_frames(ours),
        reasons={target: "; ".join(told) for target, told in reasons.items() if told},
    )


def _check_samples(track: Track) -> None:
    """Refuse a track without samples, or with some that are no finite numbers."""
    position = 0
    for pair in track.blocks():
        for side, block in zip(("estimate", "reference"), pair, strict=True):
            wrong = ~block.isfinite()
            if wrong.any():
                row, _, sample = wrong.nonzero()[0].tolist()
                what = f"{side} of {track.targets[row]}" if track.targets[row] else side
                second = (position + sample) / track.sample_rate
                raise AudioError(
                    f"the {what} holds samples that are NaN or infinite, the first at "
                    f"{second:.3f} s; write the file anew, or leave it out"
                )
        position += pair[0].shape[-1]
    if position == 0:
        raise AudioError("has no samples; there is nothing to score")


def _measure(track: Track, blocks: Blocks, metrics: Sequence[str]) -> list[Score]:
    scores: list[Score] = []
    for accumulator in make_accumulators(metrics, sample_rate=track.sample_rate):
        scores += accumulator.update_blocks(blocks, track=track.name, targets=track.targets)
    return scores


def _by_target(scores: Iterable[Score]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for score in scores:
        values.setdefault(score.target, {}).update(score.values)
    return values


def _frames(scores: Iterable[Score]) -> dict[str, dict[str, tuple[float, ...]]]:
    frames: dict[str, dict[str, tuple[float, ...]]] = {}
    for score in scores:
        if score.frames:
            frames.setdefault(score.target, {}).update(score.frames)
    return frames


class Sheet:
    """The scores of a run, in a file that is complete after every track.

    Attributes:
        path: The file, ``eval.json``.
        settings: What was scored how; scores of other settings are never mixed in.
        tracks: Scores by the name of the track, in the order in which they came.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Take over what an earlier run of the same settings wrote.

        Raises:
            OutputError: If the file holds something else, and ``overwrite`` is off.
        """
        self.path = path
        self.settings = {"sonograd": __version__, **settings}
        self.tracks: dict[str, TrackScores] = {}
        if path.exists() and not overwrite:
            self._read()

    def _read(self) -> None:
        try:
            data = read_json(self.path)
        except ConfigError as error:
            raise OutputError(f"{error} Choose another --save, or --overwrite.") from None
        theirs = data.get("settings") if isinstance(data, dict) else None
        if not isinstance(theirs, dict) or data.get("format") != _FORMAT:
            raise OutputError(
                f"{self.path}: holds no scores, and is kept; choose another --save, or --overwrite."
            )
        ours = json.loads(json.dumps(self.settings))
        different = sorted(
            key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)
        )
        if different:
            raise OutputError(
                f"{self.path}: holds scores of another {', '.join(different)}, and is kept; "
                "choose another --save, or --overwrite."
            )
        try:
            tracks = [_parse_track(name, entry) for name, entry in data["tracks"].items()]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise OutputError(
                f"{self.path}: is damaged, and is kept; choose another --save, or --overwrite."
            ) from None
        self.tracks = {scores.track: scores for scores in tracks if not scores.error}

    def has(self, track: str, stamp: str) -> bool:
        """Tell whether the scores of a track are there, and of these files."""
        return track in self.tracks and self.tracks[track].stamp == stamp

    def add(self, scores: TrackScores) -> None:
        """Keep the scores of a track, and write the file."""
        self.tracks[scores.track] = scores
        self.write()

    def write(self) -> None:
        """Write the file.

        Raises:
            OutputError: If it cannot be written.
        """
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "settings": self.settings,
            "tracks": {name: _track_entry(scores) for name, scores in self.tracks.items()},
        }
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_text(self.path, text)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file, complete or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        with AtomicFile(Path(path)) as file:
            file.path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}.") from None


#: Names of museval's ratios, and ours.
_MUSEVAL = {"SDR": "sdr", "ISR": "isr", "SIR": "sir", "SAR": "sar"}


def _track_entry(scores: TrackScores) -> dict[str, Any]:
    """Return a track as museval writes it, with everything else beside it."""
    targets = []
    for target, values in scores.values.items():
        frames = scores.frames.get(target, {})
        targets.append(
            {
                "name": target,
                "frames": _museval_frames(frames),
                "values": _plain(values),
                "mixture": _plain(scores.mixture.get(target, {})),
                "series": {name: [_null(v) for v in series] for name, series in frames.items()},
                "reason": scores.reasons.get(target, ""),
            }
        )
    return {
        "targets": targets,
        "sample_rate": scores.sample_rate,
        "error": scores.error,
        "stamp": scores.stamp,
    }


def _museval_frames(frames: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Return the frames of BSS eval (or of the SDR alone) in museval's words."""
    for prefix in ("bss_v4", "bss_v3"):
        if f"{prefix}_sdr" in frames:
            named = {theirs: frames[f"{prefix}_{name}"] for theirs, name in _MUSEVAL.items()}
            break
    else:
        if "csdr" not in frames:
            return []
        named = {"SDR": frames["csdr"]}
    count = len(named["SDR"])
    return [
        {
            "time": float(index),
            "duration": 1.0,
            "metrics": {name: _null(series[index]) for name, series in named.items()},
        }
        for index in range(count)
    ]


def _parse_track(name: str, entry: Mapping[str, Any]) -> TrackScores:
    targets = entry["targets"]
    return TrackScores(
        name,
        entry["sample_rate"],
        values={t["name"]: _numbers(t["values"]) for t in targets},
        mixture={t["name"]: _numbers(t["mixture"]) for t in targets if t["mixture"]},
        frames={
            t["name"]: {key: [_number(v) for v in series] for key, series in t["series"].items()}
            for t in targets
            if t["series"]
        },
        reasons={t["name"]: t["reason"] for t in targets if t["reason"]},
        error=entry["error"],
        stamp=entry["stamp"],
    )


def _null(value: float) -> float | str | None:
    """Return what JSON can hold: null for NaN, text for infinity."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def _plain(values: Mapping[str, float]) -> dict[str, float | str | None]:
    return {name: _null(value) for name, value in values.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(value) for name, value in values.items()}


def stack_blocks(
    estimates: Sequence[Callable[[], Iterable[Tensor]]],
    references: Sequence[Callable[[], Iterable[Tensor]]],
) -> Blocks:
    """Return blocks of several targets from functions that open each of them.

    All must give blocks of the same lengths.
    """

    def open_blocks() -> Iterable[tuple[Tensor, Tensor]]:
        opened = [
            zip(*(open_() for open_ in side), strict=True) for side in (estimates, references)
        ]
        for ours, theirs in zip(*opened, strict=True):
            yield torch.stack(ours), torch.stack(theirs)

    return open_blocks
