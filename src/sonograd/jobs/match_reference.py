"""Bring files closer to references of other material: modest by nature, and it says so."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from sonograd import plotting
from sonograd.config.output import Bits
from sonograd.data import AudioFile, AudioWriter, check_finite, resample_audio
from sonograd.effects import write_preset
from sonograd.errors import AudioError, MissingExtraError, OutputError
from sonograd.jobs.match_pictures import Chart, to_svg
from sonograd.jobs.outputs import StagedFolder
from sonograd.jobs.report import page
from sonograd.matching import Distance, ReferenceResult, match_reference

__all__ = ["distance_lines", "resemble"]

_BLOCK = 1 << 16
_LISTEN_S = 60.0
#: What a distance is, in words, and its unit.
_WORDS = {
    "loudness_lu": ("loudness", "LU"),
    "spectrum_db": ("spectrum of the middle", "dB"),
    "side_db": ("spectrum of the side", "dB"),
    "dynamics_db": ("spread of levels", "dB"),
    "width_db": ("width", "dB"),
}


def resemble(
    source: Path,
    references: Sequence[Path],
    folder: Path,
    *,
    bits: Bits = "32f",
    on_progress: Callable[[float, float], None] | None = None,
) -> tuple[tuple[Path, ...], dict[str, object]]:
    """Write what brings ``source`` closer to ``references`` into a folder of its own.

    Args:
        source: The file to change.
        references: Files of other material; of several, a minute of each counts.
        folder: For ``matched.wav``, ``preset.json``, ``report.html``, ``match.json`` and pictures.
        bits: Sample format of the audio.
        on_progress: Called with seconds done and in total.

    Returns:
        The files, and what ``match.json`` says.

    Raises:
        AudioError: If a file cannot be used.
        OutputError: If the folder cannot be written to.
    """
    with AudioFile(source) as file:
        rate = file.sample_rate
    reference = references[0] if len(references) == 1 else _joined(references, rate)
    result = match_reference(source, reference, reference_sample_rate=rate)
    with StagedFolder(folder) as stage:
        _render(result, source, stage.path / "matched.wav", bits, on_progress)
        write_preset(result.preset, stage.path / "preset.json")
        summary: dict[str, object] = {
            "source": str(source),
            "references": [str(path) for path in references],
            "before": dataclasses.asdict(result.before),
            "after": dataclasses.asdict(result.after),
            "warning": result.warning,
            "notes": list(result.notes),
        }
        text = json.dumps(summary, indent=2) + "\n"
        (stage.path / "match.json").write_text(text, encoding="utf-8")
        _report(result, source, references, stage.path)
        names = sorted(path.name for path in stage.path.iterdir())
        stage.publish()
    return tuple(folder / name for name in names), summary


def distance_lines(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Return distances before and after as lines of a table."""
    lines = [f"  {'distance to the reference':<26} {'before':>10} {'after':>10}"]
    for name, (words, unit) in _WORDS.items():
        first, second = (f"{values[name]:+.2f} {unit}" for values in (before, after))
        lines.append(f"  {words:<26} {first:>10} {second:>10}")
    return lines


def _joined(paths: Sequence[Path], sample_rate: int) -> Tensor:
    """Return a minute from the middle of each file, at one rate and width."""
    parts = []
    for path in paths:
        with AudioFile(path) as file:
            wanted = min(round(_LISTEN_S * file.sample_rate), file.samples)
            part = file.read((file.samples - wanted) // 2, wanted)
            check_finite(part, sample_rate=file.sample_rate, name=str(path))
            if not part.shape[-1]:
                raise AudioError(f"{path}: is empty; expected sound")
            parts.append(resample_audio(part, file.sample_rate, sample_rate))
    width = max(part.shape[0] for part in parts)
    if width > 2 or any(part.shape[0] not in {1, width} for part in parts):
        raise AudioError(f"the references have up to {width} channels; expected mono or stereo")
    return torch.cat([part.expand(width, -1) for part in parts], dim=-1)


@torch.no_grad()
def _render(
    result: ReferenceResult,
    source: Path,
    target: Path,
    bits: Bits,
    on_progress: Callable[[float, float], None] | None,
) -> None:
    effect = result.effect
    with AudioFile(source) as file:
        state, late = effect.init_state(1, file.channels), effect.latency
        writer = AudioWriter(
            target,
            sample_rate=file.sample_rate,
            channels=effect.output_channels(file.channels),
            bits=bits,
            samples=file.samples,
        )
        with writer:
            for block in _blocks(file, late):
                y, state = effect.stream(block, state, **result.values)
                if not bool(y.isfinite().all()):
                    raise OutputError(f"{source}: the result is no finite number")
                skipped = min(late, y.shape[-1])
                late -= skipped
                writer.write(y[..., skipped:])
                if on_progress is not None:
                    on_progress(writer.samples, file.samples)


def _blocks(file: AudioFile, silence: int) -> Iterator[Tensor]:
    """Yield a file, then silence that drives out what is late."""
    for position, block in enumerate(file.blocks(_BLOCK)):
        yield check_finite(
            block, start=position * _BLOCK, sample_rate=file.sample_rate, name=str(file.path)
        )
    if silence:
        yield torch.zeros(file.channels, silence)


def _report(
    result: ReferenceResult, source: Path, references: Sequence[Path], folder: Path
) -> None:
    try:
        chart = _spectra(result)
    except MissingExtraError:
        picture = ""
    else:
        chart.figure.savefig(folder / f"{chart.name}.png")
        picture = (
            f'<section class="card"><h2>{chart.title}</h2><p>{chart.caption}</p>'
            f"{to_svg(chart)}</section>"
        )
    names = ", ".join(str(path) for path in references)
    rows = "".join(
        f"<tr><td>{words}</td>{_cells(result.before, result.after, name, unit)}</tr>"
        for name, (words, unit) in _WORDS.items()
    )
    notes = "".join(f"<li>{escape(text)}</li>" for text in result.notes)
    body = [
        f'<header><p class="files">{escape(str(source))} → {escape(names)}</p>'
        "<h1>Closer to a reference</h1></header>",
        f'<section class="card warn"><p>{escape(result.warning)}</p></section>',
        '<section class="card"><h2>Distance</h2><p>What can be compared without common material; '
        "zero is alike.</p>"
        '<div class="scroll"><table><tr><th></th><th class="n">before</th><th class="n">after</th>'
        f"</tr>{rows}</table></div></section>",
        picture,
        f'<section class="card"><h2>Notes</h2><ul class="plain">{notes}</ul></section>'
        if notes
        else "",
        '<section class="card"><h2>The chain, to take along</h2><details><summary>preset.json'
        f"</summary><pre>{escape(json.dumps(result.preset, indent=2))}</pre></details></section>",
    ]
    text = page(f"{source.name}: closer to a reference", body)
    (folder / "report.html").write_text(text, encoding="utf-8")


def _cells(before: Distance, after: Distance, name: str, unit: str) -> str:
    return "".join(
        f'<td class="n">{getattr(item, name):+.2f} {unit}</td>' for item in (before, after)
    )


def _spectra(result: ReferenceResult) -> Chart:
    heard = result.spectra_db > result.spectra_db.max() - 100
    names = ("source", "reference", "result")
    curves = {
        name: torch.where(row, 10 ** (level / 20), math.nan)
        for name, level, row in zip(names, result.spectra_db, heard, strict=True)
    }
    figure = plotting.response(
        curves, sample_rate=result.sample_rate, frequencies=result.frequencies_hz
    )
    figure.axes[0].set_ylabel("level per third octave (dB)")
    low, high = (float(x) for x in (result.spectra_db[heard].min(), result.spectra_db.max()))
    figure.axes[0].set_ylim(max(low, high - 70) - 3, high + 5)
    figure.set_size_inches(9.8, 3.4)
    caption = "Long-term spectra of the middle, in third octaves."
    return Chart("spectra", "Spectra", caption, figure)
