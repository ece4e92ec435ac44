"""From published weights and settings of the RoFormers to ours."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sonograd.config.roformer import RoFormerConfig
from sonograd.errors import CheckpointError, ConfigError
from sonograd.separators.bands import group_bands
from sonograd.separators.published import published_arguments, rename

__all__ = ["convert_roformer", "published_values"]


def convert_roformer(
    state: Mapping[str, Tensor], config: RoFormerConfig, widths: Sequence[int]
) -> dict[str, Tensor]:
    """Return published tensors under the names, and in the layout, of :class:`RoFormer`.

    Args:
        state: Tensors by their published names.
        config: What the model is built from.
        widths: Bins of each band.

    Raises:
        CheckpointError: If weights of a band are missing, or positions differ between layers.
    """
    rest = dict(state)
    result = _rotations(rest, config)
    for number, group in enumerate(group_bands(widths)):
        result |= _split_weights(rest, f"core.split.layers.{number}", group)
        for stem in range(len(config.targets)):
            name = f"core.masks.{stem}.layers.{number}"
            result |= _mask_weights(rest, name, stem, group, config.mask_depth)
    rules = _layer_rules(rest, config)
    for name, tensor in rename(rest, rules).items():
        is_qkv = name.endswith(".qkv.weight") and ".linear." not in name
        result[name] = _paired(tensor, config) if is_qkv else tensor
    return result


def _take(rest: dict[str, Tensor], name: str) -> Tensor:
    if name not in rest:
        raise CheckpointError(f"weights do not fit the model; missing: {name}.")
    return rest.pop(name)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors of any lengths along their last axis, filled up with zeros."""
    most = max(tensor.shape[-1] for tensor in tensors)
    return torch.stack([F.pad(tensor, (0, most - tensor.shape[-1])) for tensor in tensors])


def _split_weights(rest: dict[str, Tensor], name: str, group: range) -> dict[str, Tensor]:
    root = "band_split.to_features"
    gammas = [_take(rest, f"{root}.{band}.0.gamma") for band in group]
    weights = [_take(rest, f"{root}.{band}.1.weight") for band in group]
    biases = [_take(rest, f"{root}.{band}.1.bias") for band in group]
    return {
        f"{name}.gamma": _stacked(gammas)[:, None],
        f"{name}.weight": _stacked(weights).mT.contiguous(),
        f"{name}.bias": _stacked(biases)[:, None],
    }


def _mask_weights(
    rest: dict[str, Tensor], name: str, stem: int, group: range, depth: int
) -> dict[str, Tensor]:
    root = f"mask_estimators.{stem}.to_freqs"
    result = {}
    for layer in range(depth):
        weights = [_take(rest, f"{root}.{band}.0.{2 * layer}.weight") for band in group]
        biases = [_take(rest, f"{root}.{band}.0.{2 * layer}.bias") for band in group]
        result[f"{name}.weights.{layer}"] = _stacked([weight.mT for weight in weights])
        result[f"{name}.biases.{layer}"] = _stacked(biases)[:, None]
    last = [_take(rest, f"{root}.{band}.0.{2 * depth}.weight") for band in group]
    bias = [_take(rest, f"{root}.{band}.0.{2 * depth}.bias") for band in group]
    result[f"{name}.weight"] = _gated([weight.mT for weight in last])
    result[f"{name}.bias"] = _gated(bias).unsqueeze(1)
    return result


def _gated(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors whose last axis holds values, then their gates; each is filled up."""
    halves = [tensor.chunk(2, dim=-1) for tensor in tensors]
    return torch.cat([_stacked([half[side] for half in halves]) for side in range(2)], dim=-1)


def _layer_names(rest: Mapping[str, Tensor], config: RoFormerConfig) -> dict[str, str]:
    """Return which number each transformer of a block has."""
    found = {match[1] for name in rest if (match := re.match(r"layers\.0\.(\d+)\.", name))}
    names = ["linear", "time", "band"] if config.linear_depth else ["time", "band"]
    return dict(zip(sorted(found), names, strict=False))


def _rotations(rest: dict[str, Tensor], config: RoFormerConfig) -> dict[str, Tensor]:
    """Take out the frequencies of the positions, which all layers along one axis share."""
    result: dict[str, Tensor] = {}
    for number, axis in _layer_names(rest, config).items():
        pattern = rf"layers\.\d+\.{number}\.layers\.\d+\.0\.rotary_embed\.freqs"
        for name in [name for name in rest if re.fullmatch(pattern, name)]:
            frequencies = rest.pop(name)
            if not torch.equal(result.setdefault(f"core.{axis}_frequencies", frequencies),
                               frequencies):  # fmt: skip
                raise CheckpointError(f"{name} differs from those before; expected one for all.")
    return result


def _layer_rules(rest: Mapping[str, Tensor], config: RoFormerConfig) -> list[tuple[str, str]]:
    rules = [(r"^final_norm\.", "core.norm.")]
    for number, axis in _layer_names(rest, config).items():
        rules.append((rf"^layers\.(\d+)\.{number}\.", rf"core.blocks.\1.{axis}."))
    layer = r"^(core\.blocks\.\d+\.\w+\.layers\.\d+)\."
    return [
        *rules,
        (layer + r"0\.to_qkv\.(?:0\.)?", r"\1.attention.qkv."),
        (layer + r"0\.to_out\.[01]\.", r"\1.attention.out."),
        (layer + r"0\.to_gates\.", r"\1.attention.gates."),
        (layer + r"0\.", r"\1.attention."),
        (layer + r"1\.net\.0\.", r"\1.norm."),
        (layer + r"1\.net\.1\.", r"\1.expand."),
        (layer + r"1\.net\.4\.", r"\1.reduce."),
    ]


def _paired(weight: Tensor, config: RoFormerConfig) -> Tensor:
    """Put the features of a pair half a head apart in queries and keys; values stay."""
    if weight.shape[0] != 3 * config.num_heads * config.head_width:
        return weight  # does not fit, as will be said
    parts = weight.unflatten(0, (3, config.num_heads, config.head_width // 2, 2))
    turned = parts.transpose(2, 3)[:2].flatten(0, 3)
    return torch.cat((turned, parts[2:].flatten(0, 3)))


#: Arguments that both published classes have, with their defaults.
_ARGUMENTS: dict[str, Any] = {
    "dim": None, "depth": None, "stereo": False, "num_stems": 1, "time_transformer_depth": 2,
    "freq_transformer_depth": 2, "linear_transformer_depth": 0, "dim_head": 64, "heads": 8,
    "attn_dropout": 0.0, "ff_dropout": 0.0, "stft_n_fft": 2048, "stft_hop_length": 512,
    "stft_win_length": 2048, "mlp_expansion_factor": 4, "skip_connection": False,
    "zero_dc": True,
    "sample_rate": 44100, "sources": None, "chunk_size": None, "num_overlap": 2,
    "normalize": False,
}  # fmt: skip
#: Arguments that matter to the training, or to the speed of a computation.
_IGNORED = frozenset({
    "dim_freqs_in", "flash_attn", "linear_flash_attn", "match_input_audio_length",
    "multi_stft_hop_size", "multi_stft_normalized", "multi_stft_resolution_loss_weight",
    "multi_stft_resolutions_window_sizes", "multi_stft_window_fn", "sage_attention",
    "use_torch_checkpoint",
})  # fmt: skip


def published_values(
    kwargs: Mapping[str, Any], *, defaults: Mapping[str, Any], source: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return fields of a configuration for the arguments of a published class, and these.

    Args:
        kwargs: Arguments of the constructor, and ``sources``, ``chunk_size`` (in samples),
            ``sample_rate`` and ``num_overlap``.
        defaults: Arguments that one of the classes has, with their defaults.
        source: Named in the message of an error.

    Raises:
        ConfigError: With every problem at once.
    """
    given = published_arguments(
        kwargs,
        defaults={**_ARGUMENTS, **defaults},
        ignored=_IGNORED,
        required={
            "stft_normalized": False,
            "stft_window_fn": None,
            "use_pope": False,
            "num_residual_streams": 1,
        },
        source=source,
    )
    targets = given["sources"] or ("vocals",)
    problems = [
        f"{name}: this argument is missing." for name in ("dim", "depth") if given[name] is None
    ]
    if len(targets) != given["num_stems"]:
        problems.append(
            f"sources: {', '.join(targets)} for num_stems {given['num_stems']}; "
            "expected a name for each."
        )
    if given["stft_win_length"] != given["stft_n_fft"]:
        problems.append("stft_win_length: differs from stft_n_fft; expected the same.")
    if problems:
        raise ConfigError(source, problems)
    rate, samples = given["sample_rate"], given["chunk_size"]
    fields = {
        "targets": tuple(targets),
        "num_channels": 2 if given["stereo"] else 1,
        "sample_rate": rate,
        "sample_length": samples / rate if samples else 8.0,
        "num_overlap": given["num_overlap"],
        "standardize": given["normalize"],
        "num_fft": given["stft_n_fft"],
        "hop_length": given["stft_hop_length"],
        "width": given["dim"],
        "depth": given["depth"],
        "time_depth": given["time_transformer_depth"],
        "band_depth": given["freq_transformer_depth"],
        "linear_depth": given["linear_transformer_depth"],
        "num_heads": given["heads"],
        "head_width": given["dim_head"],
        "mask_expansion": given["mlp_expansion_factor"],
        "skip_connection": given["skip_connection"],
        "zero_dc": given["zero_dc"],
        "attention_dropout_p": float(given["attn_dropout"]),
        "dropout_p": float(given["ff_dropout"]),
    }
    return fields, given
