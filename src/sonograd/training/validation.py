"""Score a model on whole songs, by the same inference that users run."""

import math
from collections.abc import Mapping, Sequence

import torch

from sonograd.data.stems import Example
from sonograd.functional.ratios import si_sdr, snr
from sonograd.separators.base import Separator

__all__ = ["median_scores", "score_song"]


def score_song(separator: Separator, song: Example) -> dict[str, float]:
    """Separate a whole song and compare.

    Args:
        separator: The model, in evaluation mode.
        song: Stems of which the first are those of the model.

    Returns:
        ``sdr_STEM`` and ``si_sdr_STEM`` in dB, for the stems that are not silent.
    """
    device = next(separator.parameters()).device
    mix = song.stems.sum(dim=0).to(device)
    estimate = separator.separate(mix).cpu()
    scores: dict[str, float] = {}
    for index, name in enumerate(separator.stems):
        ours = estimate[index].flatten().double()
        theirs = song.stems[index].flatten().double()
        if not theirs.any():
            continue
        scores[f"sdr_{name}"] = snr(ours, theirs).item()
        scores[f"si_sdr_{name}"] = si_sdr(ours, theirs).item()
    return scores


def median_scores(songs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of every score over songs, and the means ``sdr`` and ``si_sdr``."""
    result: dict[str, float] = {}
    for name in sorted(set().union(*songs)):
        values = [song[name] for song in songs if math.isfinite(song.get(name, math.nan))]
        if values:
            result[name] = torch.tensor(values, dtype=torch.float64).quantile(0.5).item()
    for kind in ("sdr", "si_sdr"):
        parts = [value for name, value in result.items() if name.startswith(f"{kind}_")]
        if parts:
            result[kind] = sum(parts) / len(parts)
    return result
