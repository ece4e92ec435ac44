"""What a run of ``separate`` was asked for, checked as a whole."""

import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

from sonograd import __version__
from sonograd.config import SeparationRecord, SeparationSettings, suggest
from sonograd.config.output import Bits, Precision
from sonograd.data import FORMATS, check_format
from sonograd.errors import ConfigError, SonogradError
from sonograd.jobs.catalog import RESIDUAL, Song
from sonograd.jobs.combine import CombinedModel, resolve_models
from sonograd.jobs.resources import choose_device
from sonograd.separators import ChunkPlan, SelectStems, Separator
from sonograd.zoo.lookup import ResolvedModel

__all__ = ["Request", "check_request"]

T = TypeVar("T")

#: Bytes per sample that a lossy format may need, generously.
_LOSSY_BYTES = 0.5
_BYTES = {"16": 2, "24": 3, "32f": 4}
#: Packages that decide about samples, or about how they are read and written.
_PACKAGES = ("av", "soundfile", "soxr")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The checked arguments of :func:`~sonograd.jobs.separate_files`."""

    model: ResolvedModel | CombinedModel
    model_sha256: str | None
    separator: Separator
    device: torch.device
    save: Path
    residual: bool
    residual_name: str
    duration: float | None
    sample_rate: int | None
    overlap: float | None
    padding: int | None
    stems: tuple[str, ...]
    format: str
    bits: Bits | None
    overwrite: bool
    repair: bool
    precision: Precision

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the files of a song, without ending."""
        return (*self.stems, self.residual_name) if self.residual else self.stems

    @property
    def suffix(self) -> str:
        """Ending of the files, with its dot."""
        return FORMATS[self.format].suffix

    @property
    def depth(self) -> Bits | None:
        """Sample format of the files, or None where the codec decides."""
        item = FORMATS[self.format]
        return None if item.lossy else self.bits or item.default_bits

    @property
    def spool(self) -> bool:
        """Whether the format could clip, so that the peak must be known before encoding."""
        return self.depth != "32f"

    @property
    def bytes_per_sample(self) -> float:
        """About how much disk a sample of one channel takes."""
        return _LOSSY_BYTES if self.depth is None else _BYTES[self.depth]

    @property
    def takes_any_rate(self) -> bool:
        """Whether the model is made for each song's rate and channels."""
        return self.model.path is None

    def load(self, sample_rate: int, channels: int) -> Separator:
        """Return the model with the wanted stems, for a song with this rate and channels."""
        if not self.takes_any_rate:
            return self.separator
        separator = self.model.load(sample_rate=sample_rate, channels=min(channels, 2))
        return _select(separator, self.stems)

    def plan(self, separator: Separator) -> ChunkPlan:
        """Return the model's plan with the wanted overlap."""
        if self.padding is not None:
            return separator.plan.with_padding(self.padding)
        return separator.plan if self.overlap is None else separator.plan.with_overlap(self.overlap)

    def record(
        self,
        song: Song,
        plan: ChunkPlan,
        *,
        sample_rate: int,
        channels: int,
        gain_db: float = 0.0,
    ) -> SeparationRecord:
        """Return what the result folder of ``song``, of this rate and width, says about itself."""
        return SeparationRecord(
            model=self.model.name,
            model_sha256=self.model_sha256,
            source=song.source.name,
            source_bytes=song.source.stat().st_size,
            source_sample_rate=sample_rate,
            source_channels=channels,
            settings=SeparationSettings(
                stems=self.stems,
                residual=self.residual,
                residual_name=self.residual_name,
                duration=self.duration,
                sample_rate=self.sample_rate or sample_rate,
                chunk=plan.length,
                overlap=plan.length - plan.hop,
                format=self.format,
                bits=self.depth,
                precision=self.precision,
                repair=self.repair,
            ),
            gain_db=gain_db,
            versions={
                "sonograd": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                **{package: metadata.version(package) for package in _PACKAGES},
            },
        )


def check_request(
    model: str | os.PathLike[str],
    *,
    duration: float | None,
    sample_rate: int | None,
    overlap: float | None,
    padding: int | None,
    stems: Sequence[str] | None,
    format: str,
    bits: Bits | None,
    device: str,
    batch_size: int,
    workers: int | None,
    precision: Precision,
    ensemble: Sequence[str | os.PathLike[str]] = (),
    weights: Sequence[float] = (),
    shifts: int = 0,
    swap_channels: bool = False,
    invert: bool = False,
    two_stems: str | None = None,
    **others: Any,
) -> Request:
    """Check all options, load the model, and return both.

    Raises:
        ConfigError: With every problem at once.
    """
    problems: list[str] = []

    def attempt(option: str, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except ConfigError as error:
            problems.extend(f"{error.source}: {problem}" for problem in error.problems)
        except SonogradError as error:
            problems.append(str(error) if str(error).startswith(option) else f"{option}: {error}")
        return None

    for name, value, fits, expected in (
        ("duration", duration, lambda x: math.isfinite(x) and x > 0, "a positive number"),
        ("sample_rate", sample_rate, lambda x: x >= 1, "at least 1 Hz"),
        ("batch_size", batch_size, lambda x: x >= 1, "at least 1"),
        ("workers", workers, lambda x: x >= 1, "at least 1"),
        ("shifts", shifts, lambda x: 0 <= x <= 100, "0 to 100"),
        ("precision", precision, lambda x: x in {"32", "bf16"}, "32 or bf16"),
    ):
        if value is not None and not fits(value):
            problems.append(f"{name}: got {value}; expected {expected}")
    if overlap is not None and padding is not None:
        problems.append("padding: replaces overlap; give one of them")
    if two_stems is not None:
        if stems is not None:
            problems.append("two_stems: replaces stems; give one of them")
        stems, others["residual"] = (two_stems,), True
    residual_name = RESIDUAL if two_stems is None else f"no_{two_stems}"
    attempt("format", lambda: _check_format(format, bits))
    chosen = attempt("device", lambda: choose_device(device))
    resolved = attempt(
        "model",
        lambda: resolve_models(
            model, ensemble=ensemble, weights=weights, shifts=shifts,
            swap_channels=swap_channels, invert=invert,
        ),
    )  # fmt: skip
    separator = attempt("model", resolved.load) if resolved else None
    if separator is not None and stems is not None:
        problems.extend(_stem_problems(stems, separator.stems))
    if separator is not None:
        names = tuple(stems or separator.stems)
        problems.extend(_name_problems(names, residual_name if others["residual"] else None))
        plan = separator.plan
        asked = {
            "overlap": None if overlap is None else lambda: plan.with_overlap(overlap),
            "padding": None if padding is None else lambda: plan.with_padding(padding),
        }
        for option, change in asked.items():
            changed = None if change is None else attempt(option, change)
            if changed is None:
                continue
            if separator.interchangeable and changed.hop >= changed.length:
                problems.append(
                    f"{option}: got 0; this model puts the stems of chunks into one order by what "
                    "they share, so that some is needed"
                )
            if not _is_followed(separator, changed):
                problems.append(
                    f"{option}: this model hears a song as a whole, so that nothing overlaps; "
                    f"leave out {option}"
                )
    if problems or resolved is None or separator is None or chosen is None:
        raise ConfigError("separate", problems)
    return Request(
        model=resolved,
        model_sha256=resolved.sha256,
        separator=_select(separator, names),
        device=chosen,
        duration=duration,
        sample_rate=sample_rate,
        overlap=overlap,
        padding=padding,
        stems=names,
        format=format,
        bits=bits,
        precision=precision,
        residual_name=residual_name,
        **others,
    )


def _is_followed(separator: Separator, plan: ChunkPlan) -> bool:
    """Tell whether a model, or one of several, cuts a song by a plan that it is given."""
    lanes = separator.lanes(plan)
    surveys = [lane.separator.survey(lane.plan) for lane in lanes]
    return any(
        survey is None or survey.second == lane.plan
        for lane, survey in zip(lanes, surveys, strict=True)
    )


def _check_format(name: str, bits: str | None) -> None:
    """Raise unless some audio can be written like that; each song is checked again."""
    rates = FORMATS[name].sample_rates if name in FORMATS else ()
    check_format(name, sample_rate=max(rates, default=44100), channels=1, bits=bits)


def _stem_problems(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    problems = [
        f"stems: there is no stem {name!r}; this model has {', '.join(known)}."
        + suggest(name, known)
        for name in wanted
        if name not in known
    ]
    if not wanted or len(set(wanted)) < len(wanted):
        problems.append(
            f"stems: got {', '.join(wanted) or 'none'}; expected one or more, each once"
        )
    return problems


def _name_problems(names: Sequence[str], residual: str | None) -> list[str]:
    """Return what keeps stems from being files: a model's file may call them anything."""
    problems = [
        f"stems: {name!r} cannot be the name of a file; choose others with --stems"
        for name in names
        if name != Path(name).name or name.startswith(".") or "\\" in name or "\0" in name
    ]
    if residual in names:
        problems.append(f"residual: the model has a stem {residual!r}, too; leave it out")
    return problems


def _select(separator: Separator, names: tuple[str, ...]) -> Separator:
    return separator if separator.stems == names else SelectStems(separator, names)
