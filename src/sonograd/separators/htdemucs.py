"""Hybrid Transformer Demucs (v4): the hybrid U-Net with a transformer across its two branches.

Rouard, Massa and Défossez, *Hybrid transformers for music source separation*, 2022
(arXiv:2211.08553).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.demucs import HTDemucsConfig
from sonograd.config.io import validate
from sonograd.separators.cross_transformer import CrossTransformer
from sonograd.separators.hybrid import HybridSeparator
from sonograd.separators.hybrid_published import (
    HYBRID_DEFAULTS,
    HYBRID_RULES,
    demucs_plan,
    hybrid_values,
)
from sonograd.separators.published import published_arguments, rename

__all__ = ["HTDemucs"]


class HTDemucs(HybridSeparator):
    """Demucs v4, see the module.

    With ``fixed_length`` what is shorter than a training chunk is filled up with silence behind
    it, in evaluation.
    """

    config: HTDemucsConfig

    def __init__(self, config: HTDemucsConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        config = validate(config or HTDemucsConfig(), source="HTDemucs")
        super().__init__(config)
        plan = demucs_plan(config.sample_length, config.sample_rate)
        self._chunk = plan.length
        if config.fixed_length:
            plan = demucs_plan(config.sample_length, config.sample_rate, shortest=plan.length)
        self.plan = plan
        maps = config.num_hidden_channels * config.growth ** (config.depth - 1)
        features = config.bottom_channels or maps
        self.transformer: CrossTransformer | None = None
        if config.transformer_layers:
            self.transformer = CrossTransformer(config, features)
        self.widen, self.narrow, self.time_widen, self.time_narrow = (
            nn.Conv1d(before, after, 1) if config.bottom_channels else nn.Identity()
            for before, after in ((maps, features), (features, maps)) * 2
        )

    def bottom(self, x: Tensor, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer on the deepest maps."""
        if self.transformer is None:
            return x, wave
        shape = x.shape[-2:]
        x = self.widen(x.flatten(2)).unflatten(2, shape)
        x, wave = self.transformer(x, self.time_widen(wave))
        return self.narrow(x.flatten(2)).unflatten(2, shape), self.time_narrow(wave)

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        missing = self._chunk - mix.shape[-1]
        if self.training or not self.config.fixed_length or missing <= 0 or not mix.numel():
            return super().forward(mix)
        return super().forward(F.pad(mix, (0, missing)))[..., : mix.shape[-1]]


def config_from_published(kwargs: Mapping[str, Any]) -> HTDemucsConfig:
    """Return what the arguments of the published ``HTDemucs`` class mean here.

    Raises:
        ConfigError: If they ask for what this model does not have; with all problems at once.
    """
    given = published_arguments(
        kwargs,
        defaults={
            **HYBRID_DEFAULTS, "bottom_channels": 0, "t_layers": 5, "t_hidden_scale": 4.0,
            "t_heads": 8, "t_dropout": 0.0, "t_norm_in": True, "t_norm_first": True,
            "t_norm_out": True, "t_max_period": 10000.0, "t_layer_scale": True, "t_gelu": True,
            "t_weight_pos_embed": 1.0, "t_cross_first": False, "use_train_segment": True,
        },
        ignored={
            "emb_smooth", "end_iters", "multi_freqs_depth", "time_stride", "t_max_positions",
            "t_weight_decay", "t_lr", "t_cape_mean_normalize", "t_cape_augment",
            "t_cape_glob_loc_scale", "t_mask_type", "t_mask_random_seed",
            "t_sparse_attn_window", "t_global_window", "t_sparsity", "t_auto_sparsity",
        },
        required={
            "channels_time": None, "multi_freqs": None, "t_emb": "sin", "t_sin_random_shift": 0,
            "t_group_norm": False, "t_norm_in_group": False, "t_sparse_self_attn": False,
            "t_sparse_cross_attn": False,
        },
        source="HTDemucs",
    )  # fmt: skip
    return HTDemucsConfig(
        **hybrid_values(given),
        bottom_channels=given["bottom_channels"],
        transformer_layers=given["t_layers"],
        transformer_heads=given["t_heads"],
        transformer_expansion=given["t_hidden_scale"],
        transformer_dropout=given["t_dropout"],
        transformer_cross_first=given["t_cross_first"],
        transformer_norm_in=given["t_norm_in"],
        transformer_norm_first=given["t_norm_first"],
        transformer_norm_out=given["t_norm_out"],
        transformer_layer_scale=given["t_layer_scale"],
        transformer_gelu=given["t_gelu"],
        position_weight=given["t_weight_pos_embed"],
        position_max_period=given["t_max_period"],
        fixed_length=given["use_train_segment"],
    )


def convert_state(state: Mapping[str, Tensor], config: HTDemucsConfig) -> dict[str, Tensor]:
    """Return the tensors of a published state dict under the names of :class:`HTDemucs`."""
    layer = r"(transformer\.(?:time_)?layers\.\d+)\."
    rules = [
        *HYBRID_RULES,
        (r"^channel_upsampler\.", "widen."),
        (r"^channel_downsampler\.", "narrow."),
        (r"^channel_upsampler_t\.", "time_widen."),
        (r"^channel_downsampler_t\.", "time_narrow."),
        (r"^crosstransformer\.layers_t\.", "transformer.time_layers."),
        (r"^crosstransformer\.norm_in_t\.", "transformer.time_norm_in."),
        (r"^crosstransformer\.", "transformer."),
        (layer + r"(?:self|cross)_attn\.in_proj_", r"\1.attention."),
        (layer + r"(?:self|cross)_attn\.out_proj\.", r"\1.attention_out."),
        (layer + r"linear1\.", r"\1.expand."),
        (layer + r"linear2\.", r"\1.reduce."),
        (layer + r"gamma_1\.", r"\1.scale_attention."),
        (layer + r"gamma_2\.", r"\1.scale_expand."),
        (layer + r"norm1\.", r"\1.norm_query."),
    ]
    for index in range(config.transformer_layers):
        cross = index % 2 == int(not config.transformer_cross_first)
        named = rf"(transformer\.(?:time_)?layers\.{index})\."
        both = cross and config.transformer_norm_first
        rules.append((named + r"norm2\.", r"\1.norm_key." if both else r"\1.norm_expand."))
        if cross and config.transformer_norm_first:
            rules.append((named + r"norm3\.", r"\1.norm_expand."))
    # Layers that normalize last have a third norm that nothing passes through.
    dropped = [] if config.transformer_norm_first else [r"crosstransformer\.layers.*\.norm3\..*"]
    return rename(state, rules, dropped=dropped)
