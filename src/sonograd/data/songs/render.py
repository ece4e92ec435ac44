"""Play a score: every part on its instrument, through its channel strip, into four stems."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.data.songs.bass import bass_patch
from sonograd.data.songs.compose import check_request, compose
from sonograd.data.songs.describe import describe
from sonograd.data.songs.drums import render_drums
from sonograd.data.songs.genres import GENRES
from sonograd.data.songs.instruments import instrument_patch
from sonograd.data.songs.leads import LEADS, lead_patch
from sonograd.data.songs.mixing import active_level, master, strip
from sonograd.data.songs.patches import Patch
from sonograd.data.songs.score import STEMS, Part, Score, stream
from sonograd.data.songs.sound import pan
from sonograd.data.songs.vocals import render_vocals

Source: TypeAlias = Literal["synthesis", "sampled"]

__all__ = ["Source", "SyntheticSong", "dry_parts", "make_song", "position", "render"]


@dataclass(frozen=True, slots=True)
class SyntheticSong:
    """A finished song.

    Attributes:
        stems: ``(4, 2, samples)``; their sum is the mixture, and nothing exceeds 1.
        sample_rate: In Hz.
        description: What was drawn for it, as plain values.
        names: What the stems are called.
    """

    stems: Tensor
    sample_rate: int
    description: dict[str, Any]
    names: tuple[str, ...] = STEMS

    @property
    def mixture(self) -> Tensor:
        """The sum of the stems, ``(2, samples)``."""
        return self.stems.sum(0)


def make_song(
    seed: int,
    *,
    seconds: float,
    sample_rate: int = 44100,
    genre: str | None = None,
    source: Source = "synthesis",
) -> SyntheticSong:
    """Compose and play a song.

    The same arguments give the same samples on one machine and version.

    Args:
        seed: Any integer from 0 on.
        seconds: Length.
        sample_rate: In Hz, from 8000 on.
        genre: One of :data:`~sonograd.data.songs.GENRES`; drawn at random if not given.
        source: ``synthesis``, or ``sampled`` for instruments of a SoundFont and voices from
            speech, which need programs of their own: see :mod:`sonograd.data.songs.sampled`.

    Returns:
        Drums, bass, other and vocals, with a description.

    Raises:
        ParameterError: For a genre that is not known, or a length, rate or seed out of range.
    """
    check_request(seed=seed, seconds=seconds, sample_rate=sample_rate)
    score = compose(seed, seconds=seconds, genre=genre)
    return SyntheticSong(render(score, sample_rate, source=source), sample_rate, describe(score))


# Usual level of each stem in a mix in dB, and how much it varies.
_BALANCE = {"drums": (0.0, 2.5), "bass": (-2.5, 3.0), "other": (-1.0, 3.0), "vocals": (0.5, 3.0)}


def render(score: Score, sample_rate: int, *, source: Source = "synthesis") -> Tensor:
    """Play a score.

    Returns:
        Stems ``(4, 2, samples)``, float32.
    """
    check_request(seed=score.seed, seconds=score.seconds, sample_rate=sample_rate)
    samples = max(round(score.seconds * sample_rate), 1)
    drive = GENRES[score.genre].drive
    stems = torch.zeros(len(STEMS), 2, samples)
    play: Callable[[Score, str, int, int], list[tuple[str, Tensor]]] = dry_parts
    if source == "sampled":
        from sonograd.data.songs.sampled import sampled_parts

        play = sampled_parts
    with torch.no_grad():
        for index, stem in enumerate(STEMS):
            for part, dry in play(score, stem, sample_rate, samples):
                rng = stream(score.seed, "strip", part)
                wet = strip(dry, rng, stem, sample_rate, drive)
                gain = 10 ** (float(rng.normal(0.0, 3.5 if stem == "other" else 0.0)) / 20)
                if part.startswith(("double", "harmony", "backing")):
                    level = active_level(dry, sample_rate)
                    gain = min(level, 1.0) if level else 0.0
                stems[index] += gain * wet
        return _mix(score, stems, sample_rate)


def _mix(score: Score, stems: Tensor, sample_rate: int) -> Tensor:
    """Set the levels of the stems, then master."""
    for index, stem in enumerate(STEMS):
        rng = stream(score.seed, "level", stem)
        level = active_level(stems[index], sample_rate)
        if level:
            usual, spread = _BALANCE[stem]
            wanted = usual + float(rng.normal(0.0, spread))
            stems[index] *= 0.1 * 10 ** (wanted / 20) / level
    return master(stems, stream(score.seed, "master"), sample_rate)


def dry_parts(
    score: Score, stem: str, sample_rate: int, samples: int, *, only: Collection[str] | None = None
) -> list[tuple[str, Tensor]]:
    """Return (name, sound) of the parts of a stem, placed in stereo; all or ``only`` some."""
    if stem == "drums":
        return [("drums", render_drums(score, sample_rate, samples))]
    if stem == "vocals":
        sung = render_vocals(score, sample_rate, samples)
        return [(part.name, sound) for part, sound in sung]
    parts = []
    for part in score.of_stem(stem):
        if part.notes and (only is None or part.name in only):
            rng = stream(score.seed, "player", part.name)
            patch = _patch(score, part, sample_rate)
            mono = patch.play(part.notes, rng, sample_rate, samples)
            parts.append((part.name, pan(mono, position(score, part))))
    return parts


def _patch(score: Score, part: Part, sample_rate: int) -> Patch:
    rng = stream(score.seed, "sound", part.name)
    if part.stem == "bass":
        return bass_patch(part.instrument, rng, sample_rate)
    if part.instrument in LEADS:
        return lead_patch(part.instrument, rng, sample_rate)
    return instrument_patch(part.instrument, rng, sample_rate)


def position(score: Score, part: Part) -> float:
    """Return where a part stands: the bass and most leads in the middle."""
    rng = stream(score.seed, "place", part.name)
    if part.stem == "bass":
        return float(rng.normal(0.0, 0.04))
    if part.role == "lead" and rng.random() < 0.75:
        return float(rng.normal(0.0, 0.05))
    return float(rng.uniform(-0.95, 0.95)) if rng.random() < 0.7 else 0.0
