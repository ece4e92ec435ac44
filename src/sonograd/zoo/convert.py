"""Turn published checkpoints into separators of ours.

A file is read as plain data, its tensors are renamed by the rules of the family, and the result
must fit the model exactly. The family is chosen from a list: nothing that a file says is imported.
"""

import reprlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor

from sonograd.config import SeparatorConfig, parse_config, suggest, validate
from sonograd.errors import CheckpointError, ConfigError, ParameterError, SonogradError
from sonograd.separators import Separator
from sonograd.separators.checkpoint import is_checkpoint, load_separator
from sonograd.separators.fitting import built_separator, fill_separator, join_some, shown
from sonograd.separators.pickles import StoredTensor
from sonograd.zoo.registry import FAMILIES
from sonograd.zoo.settings import model_arguments, read_settings
from sonograd.zoo.unpickle import PublishedCheckpoint, read_published

__all__ = ["Hints", "convert_checkpoint", "detect_family"]

#: Our modules, by family; this list is all that can be imported.
_MODULES = {
    "BandSplitRoFormer": "band_split_roformer",
    "ConvTasNet": "conv_tasnet",
    "Demucs": "demucs",
    "HTDemucs": "htdemucs",
    "HybridDemucs": "hybrid_demucs",
    "MelBandRoFormer": "mel_band_roformer",
    "OpenUnmix": "open_unmix",
    "SCNet": "scnet",
}
#: What published files call these classes.
_PUBLISHED_CLASSES = {
    "ConvTasNet": "ConvTasNet",
    "demucs.demucs.Demucs": "Demucs",
    "demucs.hdemucs.HDemucs": "HybridDemucs",
    "demucs.htdemucs.HTDemucs": "HTDemucs",
}
#: A tensor that one family alone has, the more special ones first.
_SIGNS = (
    ("crosstransformer.", "HTDemucs"),
    ("tencoder.0.conv.weight", "HybridDemucs"),
    ("separation_net.dp_modules.", "SCNet"),
    ("final_norm.gamma", "BandSplitRoFormer"),
    ("band_split.to_features.", "MelBandRoFormer"),
    ("lstm.weight_ih_l0", "OpenUnmix"),
    ("masker.TCN.", "ConvTasNet"),
    ("encoder.0.0.weight", "Demucs"),
)
_NUMBER = (int, float, Fraction)
#: What settings of a network have at most: names, values under each, and the numbers among them.
_MOST_ARGUMENTS = 1000
_MOST_VALUES = 100_000
_MOST_WHOLE = 1 << 53
#: What is raised where something is calculated with values of another kind than was expected.
_NO_SENSE = (
    ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class _Family(Protocol):
    """What the module of a family offers."""

    def config_from_published(self, kwargs: Mapping[str, Any]) -> SeparatorConfig: ...

    def convert_state(
        self, state: Mapping[str, Tensor], config: SeparatorConfig
    ) -> dict[str, Tensor]: ...


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What others say about a file that may know better itself.

    Attributes:
        family: Its architecture, unless the file names its own.
        settings: Arguments of the constructor, or the file with them, unless it has its own.
        overrides: Arguments that are changed, whoever gave them; see
            :attr:`~sonograd.zoo.ModelEntry.overrides`.
    """

    family: str | None = None
    settings: Path | Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def convert_checkpoint(
    files: Sequence[Path] | Mapping[str, Path],
    *,
    family: str | None = None,
    settings: Path | Mapping[str, Any] | None = None,
    stems: Sequence[str] | None = None,
    hints: Hints | None = None,
) -> Separator:
    """Read published weights into a separator.

    Args:
        files: One file of weights; or one per stem, by its name, where each has a network.
        family: One of :data:`~sonograd.zoo.registry.FAMILIES`; found out from the names of the
            tensors if None.
        settings: Arguments of the constructor that the weights were made for, or the ``.yaml`` or
            ``.json`` file that holds them; they take the place of those in the file.
        stems: Names of the stems, in the order of the network; those of the settings if None.
        hints: What counts where neither the file nor the arguments above say anything.

    Returns:
        The model in evaluation mode, in float32 on the CPU.

    Raises:
        CheckpointError: If a file is damaged, refused, or belongs to another family.
        ConfigError: If the settings do not fit the family.
        ParameterError: If the family is not known, or nothing says how the model was built.
    """
    if family is not None and family not in FAMILIES:
        raise ParameterError(
            f"family is {family!r}; expected one of {', '.join(FAMILIES)}."
            + suggest(family, FAMILIES)
        )
    hints = hints or Hints()
    named = files if isinstance(files, Mapping) else {str(file): file for file in files}
    if not named:
        raise ParameterError("there is no file to convert")
    name = ", ".join(path.name for path in named.values())
    if len(named) == 1 and is_checkpoint(next(iter(named.values()))):
        given = {"family": family, "settings": settings, "stems": stems}
        return _own(next(iter(named.values())), [key for key, value in given.items() if value])
    read = {key: read_published(path) for key, path in named.items()}
    family = family or _family_of(read, name, hints.family)
    checkpoint = _joined(read, family, per_stem=isinstance(files, Mapping))
    arguments = _arguments(checkpoint, family, settings, hints, name)
    if isinstance(files, Mapping):
        arguments["targets"] = list(files)
    if stems is not None:
        name_of_stems = "targets" if family in {"ConvTasNet", "OpenUnmix"} else "sources"
        arguments[name_of_stems] = list(stems)
    names = next(iter(read.values())).state
    try:
        return _built(checkpoint, family, arguments, name)
    except (CheckpointError, ConfigError) as error:
        if not (sign := _sign_of_another(names, family)):
            raise
        reason = str(error).removeprefix(f"{name}: ")
        if isinstance(error, ConfigError):
            reason = f"settings that a {family} does not have; {error.problems[0]}"
        raise CheckpointError(f"{name}: {reason} {sign}") from None


def detect_family(names: Sequence[str]) -> str | None:
    """Return the family that tensors of these names belong to, or None.

    >>> detect_family(["final_norm.gamma"])
    'BandSplitRoFormer'
    """
    for sign, family in _SIGNS:
        if any(name.startswith(sign) for name in names):
            return family
    return None


def _own(path: Path, given: Sequence[str]) -> Separator:
    """Load a file of our own, which needs no arguments and takes none."""
    if given:
        raise ParameterError(
            f"{path} was written by sonograd and says itself how it was built; "
            f"leave out {', '.join(given)}."
        )
    return load_separator(path)


def _built(
    checkpoint: PublishedCheckpoint, family: str, arguments: Mapping[str, Any], name: str
) -> Separator:
    module = cast("_Family", import_module(f"sonograd.separators.{_MODULES[family]}"))
    config = _config(module, arguments, family)
    if config.model_type != family:
        raise ConfigError(name, [f"settings: of a {config.model_type}, expected a {family}."])
    separator = built_separator(Path(name), config, checkpoint.state)
    state = _converted(module, checkpoint.state, config, name)
    return fill_separator(Path(name), separator, state)


def _sign_of_another(names: Iterable[str], family: str) -> str:
    """Return a sentence about a tensor that only another family has; empty if there is none."""
    other = detect_family(list(names))
    if other in {None, family}:
        return ""
    signs = tuple(sign for sign, of in _SIGNS if of == other)
    found = next(name for name in names if name.startswith(signs))
    return f"The file looks like a {other}, which has {shown(found)}, not like a {family}."


def _family_of(
    read: Mapping[str, PublishedCheckpoint], name: str, expected: str | None = None
) -> str:
    """Return what a file says about itself, else what is expected, else what it looks like."""
    first = next(iter(read.values()))
    known = _PUBLISHED_CLASSES.get(first.class_name or "")
    family = known or expected or detect_family(list(first.state))
    if family is None:
        raise CheckpointError(
            f"{name}: of no family that is known (its tensors are {join_some(first.state)}); "
            f"give one of {', '.join(FAMILIES)} with --family."
        )
    return family


def _joined(
    read: Mapping[str, PublishedCheckpoint], family: str, *, per_stem: bool
) -> PublishedCheckpoint:
    """Return one checkpoint; where each stem has a network, names begin with that of the stem."""
    if not per_stem:
        if len(read) > 1:
            raise ParameterError(f"{len(read)} files were given; a {family} has one.")
        return next(iter(read.values()))
    state = {
        f"{stem}.{key}": tensor for stem, one in read.items() for key, tensor in one.state.items()
    }
    return PublishedCheckpoint(state)


def _arguments(
    checkpoint: PublishedCheckpoint,
    family: str,
    settings: Path | Mapping[str, Any] | None,
    hints: Hints,
    name: str,
) -> dict[str, Any]:
    arguments = _read_arguments(settings)
    if not arguments and checkpoint.class_name is not None:
        arguments = dict(checkpoint.arguments)
    arguments = arguments or _read_arguments(hints.settings)
    if not arguments and family not in {"OpenUnmix", "SCNet"}:
        raise ParameterError(
            f"{name}: nothing says how this {family} was built; give the file with its settings: "
            "--config FILE.yaml"
        )
    if family == "SCNet" and any(key.startswith("mask_layer") for key in checkpoint.state):
        arguments["masked"] = True
    return {**arguments, **_overrides(hints.overrides, arguments, family)}


def _read_arguments(settings: Path | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(settings, Path):
        return model_arguments(read_settings(settings), source=str(settings))
    return dict(settings or {})


def _overrides(
    overrides: Mapping[str, Any], arguments: Mapping[str, Any], family: str
) -> dict[str, Any]:
    """Leave out a chunk that is longer than that of a transformer, which hears no longer one."""
    own, wanted = arguments.get("segment", 10), overrides.get("segment")
    is_longer = isinstance(own, _NUMBER) and isinstance(wanted, _NUMBER) and wanted > own
    left_out = {"segment"} if family == "HTDemucs" and is_longer else set()
    return {key: value for key, value in overrides.items() if key not in left_out}


def _config(module: _Family, arguments: Mapping[str, Any], family: str) -> SeparatorConfig:
    if problems := _argument_problems(arguments):
        raise ConfigError(family, problems)
    if arguments.get("model_type") == family:  # a model.json of ours
        plain = {key: value for key, value in arguments.items() if key != "sources"}
        return parse_config(plain, cast("type[SeparatorConfig]", SeparatorConfig), source=family)
    try:
        return validate(module.config_from_published(arguments), source=family)
    except SonogradError:
        raise
    except _NO_SENSE as error:
        given = ", ".join(f"{key} {reprlib.repr(value)}" for key, value in arguments.items())
        raise ConfigError(
            family,
            [
                f"settings that make no sense ({type(error).__name__}: {shown(str(error))}); "
                f"given are {shown(given, 400)}."
            ],
        ) from error


def _argument_problems(arguments: Mapping[str, Any]) -> list[str]:
    """Return which arguments are far larger than any network's, before they are looked into."""
    if len(arguments) > _MOST_ARGUMENTS:
        return [f"has {len(arguments)} settings, expected {_MOST_ARGUMENTS} at most."]
    problems = ((name, _value_problem(value)) for name, value in arguments.items())
    return [f"{shown(str(name))}: {problem}" for name, problem in problems if problem]


def _value_problem(value: Any) -> str:
    waiting = [value]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return ""
        match waiting.pop():
            case Mapping() as found:
                waiting.extend(found.values())
            case list() | tuple() | set() | frozenset() as found:
                waiting.extend(found)
            case int(found) if abs(found) > _MOST_WHOLE:
                return f"a number of {found.bit_length()} bits, expected {_MOST_WHOLE} at most."
            case Tensor() | StoredTensor():
                return "a tensor, expected plain values."
    return f"more than {_MOST_VALUES} values, or one within itself."


def _converted(
    module: _Family, state: Mapping[str, Tensor], config: SeparatorConfig, name: str
) -> dict[str, Tensor]:
    """Return tensors under our names; those of another network may not even have the axes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about axes that there are not
            return module.convert_state(state, config)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from None
    except SonogradError:
        raise
    except _NO_SENSE as error:
        raise CheckpointError(
            f"{name}: weights do not fit the model ({type(error).__name__}: {shown(str(error))})."
        ) from error
