"""Say what a song is made of, as plain values."""

from typing import Any

from sonograd.data.songs.score import Score

__all__ = ["describe"]


def describe(score: Score) -> dict[str, Any]:
    """Return the parameters of a song as what JSON can hold."""
    beat = 60.0 / score.tempo_bpm
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return {
        "seed": score.seed,
        "seconds": score.seconds,
        "genre": score.genre,
        "tempo_bpm": score.tempo_bpm,
        "swing": score.swing,
        "key": f"{names[score.key]} {score.scale}",
        "kit": score.kit,
        "drums": sorted({hit.drum for hit in score.drums}),
        "sections": [
            {
                "name": section.name,
                "start_s": round(section.first_bar * 4 * beat - score.offset_seconds, 3),
                "bars": section.bars,
                "chords": [degree + 1 for degree in section.chords],
                "plays": [
                    *(["drums"] if section.drums else []),
                    *(["bass"] if section.bass else []),
                    *section.others,
                    *(["vocals"] if section.vocals else []),
                ],
            }
            for section in score.sections
        ],
        "parts": [
            {
                "name": part.name,
                "stem": part.stem,
                "role": part.role,
                "instrument": part.instrument,
                "notes": len(part.notes),
            }
            for part in score.parts
        ],
    }
