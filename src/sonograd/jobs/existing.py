"""Results that lie in a song's folder already: just what is wanted, or in the way."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from sonograd.config import SeparationRecord, read_config
from sonograd.errors import ConfigError, OutputError
from sonograd.jobs.catalog import RECORD_NAME, Song, recorded_files

__all__ = ["has_results", "remove_replaced"]

_REMEDY = "--overwrite replaces it, another --save keeps it"
#: Settings that are compared by value; stems and residual are compared together.
_TOGETHER = frozenset({"stems", "residual", "residual_name"})


def has_results(song: Song, files: Sequence[Path], wanted: SeparationRecord) -> bool:
    """Tell whether ``files`` are there and were made exactly as ``wanted`` says.

    Results are taken as they are or not at all: stems of two runs do not sum to the mix, and do
    not share a gain.

    Args:
        song: The song, whose folder is looked into.
        files: The files that are wanted.
        wanted: What the record of these files would say; versions and gain do not matter.

    Returns:
        False if nothing is in the way of new results.

    Raises:
        OutputError: If there are results that differ, with what differs.
    """
    path = song.folder / RECORD_NAME
    present = [file.name for file in files if file.exists()]
    if not path.exists():
        if present:
            raise OutputError(
                f"{song.folder}: holds {present[0]} without a {RECORD_NAME} that says how it was "
                f"made; {_REMEDY}"
            )
        return False
    try:
        found = read_config(path, SeparationRecord)
    except ConfigError as error:
        raise OutputError(f"{path}: {error.problems[0].rstrip('.')}; {_REMEDY}") from None
    differences = list(_differences(found, wanted))
    if differences:
        raise OutputError(f"{song.folder}: was made with {', '.join(differences)}; {_REMEDY}")
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise OutputError(f"{song.folder}: lacks {', '.join(missing)}; {_REMEDY}")
    return True


def remove_replaced(folder: Path, files: Sequence[Path]) -> None:
    """Remove what the record in ``folder`` names and new results, ``files``, do not replace."""
    for file in recorded_files(folder) - {file.name for file in files}:
        (folder / file).unlink(missing_ok=True)


def _differences(found: SeparationRecord, wanted: SeparationRecord) -> Iterator[str]:
    """Yield each difference as ``name value (wanted: value)``."""
    if found.model_sha256 != wanted.model_sha256 and found.model == wanted.model:
        yield f"model {found.model} with other weights"
    elif (found.model_sha256 or found.model) != (wanted.model_sha256 or wanted.model):
        yield _difference("model", found.model, wanted.model)
    for name in ("source", "source_bytes", "source_sample_rate", "source_channels"):
        before, now = getattr(found, name), getattr(wanted, name)
        if before != now:
            yield _difference(name.replace("_", " "), before, now)
    yield from _other_files(found, wanted)
    settings = asdict(wanted.settings)
    for name, before in asdict(found.settings).items():
        if name not in _TOGETHER and before != settings[name]:
            yield _difference(name.replace("_", " "), before, settings[name])


def _other_files(found: SeparationRecord, wanted: SeparationRecord) -> Iterator[str]:
    """Yield what keeps the files of ``found`` from being those of ``wanted``.

    Some of the files are as good as all of them, unless their gain or their residual would be
    another one.
    """
    before, now = found.settings, wanted.settings
    same_stems = set(before.stems) == set(now.stems)
    some = set(now.stems) <= set(before.stems) and not now.residual and found.gain_db == 0
    if not same_stems and not some:
        yield _difference("stems", " + ".join(before.stems), " + ".join(now.stems))
    if before.residual != now.residual and not some:
        yield _difference("residual", before.residual, now.residual)
    elif before.residual and now.residual and before.residual_name != now.residual_name:
        yield _difference("residual", before.residual_name, now.residual_name)


def _difference(name: str, before: object, now: object) -> str:
    return f"{name} {_word(before)} (wanted: {_word(now)})"


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
