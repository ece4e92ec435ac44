"""Listen to the songs of a data set from beginning to end, and say what is wrong with them.

Every file is read once, block by block: the memory that is needed does not depend on its length.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonograd.data.layouts import MIXTURE, SongFiles, StemFile
from sonograd.data.tracks import StemAudio
from sonograd.errors import SonogradError

__all__ = ["Finding", "Kind", "SongCheck", "check_song", "compare_songs"]

Kind: TypeAlias = Literal[
    "unreadable", "not a number", "missing", "length", "rate", "channels", "sum", "duplicate",
    "silence", "clipping",
]  # fmt: skip
Array = NDArray[np.float32]

_BLOCK = 1 << 16
#: Below this level a stem is silent: -80 dB.
_SILENT = 1e-4
#: Samples in a row at full scale that make a clipped place.
_CLIPPED_RUN = 3
_FULL_SCALE = 0.9999
#: Level of what the stems lack of the mix, above which they do not sum to it, in dB.
_LOSSLESS_DB, _LOSSY_DB = -50.0, -15.0
#: Splits in the order in which songs may stay in them.
_ORDER = {"test": 0, "valid": 1, "val": 1, "train": 2}


@dataclass(frozen=True)
class Finding:
    """Something to know about a song.

    Attributes:
        kind: What is the matter.
        message: It, in words and numbers.
        stem: Which stem it is about, ``mixture`` included; empty for the whole song.
        error: Whether it is wrong; otherwise it may well be meant so.
        seconds: How much audio it is about, where that matters.
    """

    kind: Kind
    message: str
    stem: str = ""
    error: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class SongCheck:
    """What is known about a song that was listened to.

    Attributes:
        name: Of the song.
        split: Where it was, empty in a data set without splits.
        seconds: Length of its mix, or of its longest stem.
        sample_rate: In Hz.
        channels: Of the mix, or of the first stem.
        stems: Names of its stems.
        findings: What is wrong or remarkable.
        digests: A fingerprint of the samples of everything that is not silent.
        missing_db: Level of what the stems lack of the mix, relative to the mix; NaN if unknown.
    """

    name: str
    split: str = ""
    seconds: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    stems: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    missing_db: float = math.nan

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.findings if finding.error)


class _Listener:
    """What is learned about one stem, block by block."""

    def __init__(self, name: str, audio: StemAudio) -> None:
        self.name = name
        self.audio = audio
        self.peak = 0.0
        self.energy = 0.0
        self.bad = 0
        self.first_bad = -1
        self.clipped = 0
        self.heard = 0
        self.problem = ""
        self._run = np.zeros(audio.channels, np.int64)
        self._digest = hashlib.blake2b(digest_size=16)

    def listen(self, start: int) -> Array:
        """Return the next block, with silence for what is no number, zeros past the end."""
        try:
            block: Array = self.audio.read(start, _BLOCK).numpy()
        except SonogradError as error:
            self.problem = self.problem or str(error)
            block = np.zeros((self.audio.channels, 0), np.float32)
        finite = np.isfinite(block)
        if not finite.all():
            self.bad += int((~finite).any(axis=0).sum())
            if self.first_bad < 0:
                self.first_bad = start + int((~finite).any(axis=0).argmax())
            block = np.where(finite, block, np.float32(0))
        if block.size:
            self.peak = max(self.peak, float(np.abs(block).max()))
            self.energy += float(np.square(block, dtype=np.float64).sum())
            self.heard += block.shape[-1]
            if self.peak >= _FULL_SCALE:
                self._count_clipped(block)
            self._digest.update(np.ascontiguousarray(block.T).tobytes())
        return block

    def _count_clipped(self, block: Array) -> None:
        """Count runs of samples at full scale, also across blocks."""
        for channel, full in enumerate(np.abs(block) >= _FULL_SCALE):
            edges = np.flatnonzero(np.diff(full.astype(np.int8), prepend=0, append=0))
            for begin, end in zip(edges[::2], edges[1::2], strict=True):
                before = self._run[channel] if begin == 0 else 0
                if before < _CLIPPED_RUN <= before + end - begin:
                    self.clipped += 1
            last = edges[-2] if edges.size and edges[-1] == full.size else full.size
            carried = self._run[channel] if last == 0 else 0
            self._run[channel] = full.size - last + carried

    @property
    def silent(self) -> bool:
        return self.peak < _SILENT

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def findings(self) -> Iterator[Finding]:
        seconds = self.first_bad / self.audio.sample_rate
        if self.problem:
            yield Finding("unreadable", self.problem, self.name)
        if self.bad:
            text = f"{self.bad} samples are no numbers, the first at {seconds:.3f} s"
            yield Finding("not a number", text, self.name)
        if self.silent and not self.problem:
            yield Finding("silence", "is silent throughout", self.name, error=self.name == MIXTURE)
        if self.clipped:
            text = f"touches full scale {self.clipped} times for {_CLIPPED_RUN} samples or more"
            yield Finding("clipping", text, self.name, error=False)


def check_song(song: SongFiles, *, split: str = "") -> SongCheck:
    """Read all stems of a song, and its mix, and compare them."""
    findings: list[Finding] = []
    files = dict(song.stems) | ({MIXTURE: song.mixture} if song.mixture else {})
    with ExitStack() as stack:
        listeners = []
        for name, file in files.items():
            try:
                listeners.append(_Listener(name, stack.enter_context(StemAudio(file))))
            except SonogradError as error:
                findings.append(Finding("unreadable", str(error), name))
        if not listeners:
            return SongCheck(song.name, split, stems=tuple(song.stems), findings=tuple(findings))
        reference = listeners[-1]
        findings += _formats(listeners, reference)
        comparable = len({listener.audio.sample_rate for listener in listeners}) == 1
        whole = len(listeners) == len(files) and comparable and len(song.stems) > 1
        missing_db, gain_db = _listen_to_all(listeners, summed=whole and song.mixture is not None)
        for listener in listeners:
            findings += listener.findings()
        findings += _not_the_sum(song, missing_db, gain_db)
        digests = {item.name: item.digest for item in listeners if not item.silent}
        findings += _same_within(digests)
        rate = reference.audio.sample_rate
        return SongCheck(
            song.name,
            split,
            max(item.audio.samples / item.audio.sample_rate for item in listeners),
            rate,
            reference.audio.channels,
            tuple(song.stems),
            tuple(findings),
            digests,
            missing_db,
        )


def _formats(listeners: list[_Listener], reference: _Listener) -> Iterator[Finding]:
    theirs = reference.audio
    for item in listeners:
        ours = item.audio
        if ours.sample_rate != theirs.sample_rate:
            text = f"has {ours.sample_rate} Hz, {reference.name} {theirs.sample_rate} Hz"
            yield Finding("rate", text, item.name)
        elif ours.samples != theirs.samples:
            more = ours.samples - theirs.samples
            which = "longer" if more > 0 else "shorter"
            seconds = abs(more) / ours.sample_rate
            text = f"is {abs(more)} samples ({seconds:.3f} s) {which} than {reference.name}"
            yield Finding("length", text, item.name, seconds=seconds)
        if ours.channels != theirs.channels:
            text = f"has {ours.channels} channels, {reference.name} {theirs.channels}"
            yield Finding(
                "channels", text, item.name, error=1 not in (ours.channels, theirs.channels)
            )


def _listen_to_all(listeners: list[_Listener], *, summed: bool) -> tuple[float, float]:
    """Read everything; return what stems lack of the mix, and its gain over their sum, in dB."""
    total = max(item.audio.samples for item in listeners)
    rest = mix_energy = sum_energy = cross = 0.0
    for start in range(0, total, _BLOCK):
        blocks = [item.listen(start) for item in listeners]
        if summed:
            mix, stems = blocks[-1], blocks[:-1]
            count, channels = max(block.shape[-1] for block in blocks), mix.shape[0]
            mix = _fitted(mix, channels, count).astype(np.float64)
            added = sum(_fitted(stem, channels, count).astype(np.float64) for stem in stems)
            rest += float(np.square(mix - added).sum())
            mix_energy += float(np.square(mix).sum())
            sum_energy += float(np.square(added).sum())
            cross += float((mix * added).sum())
    if not summed or mix_energy == 0:
        return math.nan, math.nan
    missing_db = 10 * math.log10(max(rest / mix_energy, 1e-20))
    gain_db = 20 * math.log10(cross / sum_energy) if cross > 0 else math.nan
    return missing_db, gain_db


def _fitted(block: Array, channels: int, count: int) -> Array:
    if block.shape[0] != channels:
        block = np.broadcast_to(block.mean(axis=0, keepdims=True), (channels, block.shape[-1]))
    return np.pad(block, ((0, 0), (0, count - block.shape[-1])))


def _not_the_sum(song: SongFiles, missing_db: float, gain_db: float) -> Iterator[Finding]:
    lossy = any(_is_lossy(file) for file in song.files)
    if not missing_db > (_LOSSY_DB if lossy else _LOSSLESS_DB):
        return
    text = f"differs from the sum of the stems by {missing_db:.1f} dB"
    if abs(gain_db) > 0.1:
        text += f"; it is {abs(gain_db):.1f} dB {'louder' if gain_db > 0 else 'quieter'}"
    yield Finding("sum", text, MIXTURE)


def _is_lossy(file: StemFile) -> bool:
    return file.path.suffix.lower() not in (".wav", ".flac", ".aiff", ".aif", ".w64", ".rf64")


def _same_within(digests: Mapping[str, str]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, digest in digests.items():
        if digest in seen:
            yield Finding("duplicate", f"is the same audio as {seen[digest]}", name)
        seen.setdefault(digest, name)


def compare_songs(checks: list[SongCheck]) -> list[SongCheck]:
    """Add to the findings of songs what only shows beside the others.

    Songs that are twice in the data set (of a song in two splits, the copy to train on is the
    wrong one), stems that most songs have and a few lack, and rates that are not those of the
    others.
    """
    counts: dict[str, int] = {}
    rates: dict[int, int] = {}
    for check in checks:
        rates[check.sample_rate] = rates.get(check.sample_rate, 0) + 1
        for stem in check.stems:
            counts[stem] = counts.get(stem, 0) + 1
    usual = {stem for stem, count in counts.items() if 2 * count > len(checks)}
    rate = max(rates, key=lambda key: rates[key]) if rates else 0
    seen: dict[str, SongCheck] = {}
    result = list(checks)
    for row in sorted(range(len(checks)), key=lambda row: _ORDER.get(checks[row].split, 0)):
        check, extra = checks[row], []
        if lacking := sorted(usual - set(check.stems)):
            extra.append(Finding("missing", f"has no {', '.join(lacking)}"))
        if check.sample_rate and check.sample_rate != rate:
            text = f"has {check.sample_rate} Hz, most songs {rate} Hz; training resamples it"
            extra.append(Finding("rate", text, error=False))
        extra += _seen_before(check, seen)
        result[row] = replace(check, findings=(*check.findings, *extra))
    return result


def _seen_before(check: SongCheck, seen: dict[str, SongCheck]) -> Iterator[Finding]:
    told = set()
    for name, digest in check.digests.items():
        other = seen.setdefault(digest, check)
        if other is not check and other.name + other.split not in told:
            told.add(other.name + other.split)
            where = f"{other.split}/{other.name}" if other.split else other.name
            text = f"is the same audio as in {where}"
            if other.split != check.split:
                text += ": it is in two splits"
            yield Finding("duplicate", text, name)
