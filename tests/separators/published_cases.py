"""Small nets of every published family: their arguments, and lengths that try the edges."""

from dataclasses import dataclass, field
from typing import Any

import torch

from sonograd.separators import conv_tasnet, demucs, htdemucs, hybrid_demucs, open_unmix

_STEMS = ["drums", "bass", "vocals"]


@dataclass(frozen=True)
class Case:
    """A net of a family.

    ``lengths`` are a chunk, one sample less, a prime number, and less than a frame.
    """

    family: Any
    module: str
    name: str
    kwargs: dict[str, Any]
    lengths: tuple[int, ...]
    channels: int = 2
    extra: dict[str, Any] = field(default_factory=dict)

    def build(self, module):
        """Return the original."""
        return getattr(module, self.name)(**self.kwargs)

    def config(self):
        """Return the configuration of ours."""
        return self.family.config_from_published({**self.kwargs, **self.extra})


CASES = {
    "demucs_v3": Case(
        demucs, "demucs.demucs", "Demucs",
        {"sources": _STEMS, "channels": 4, "depth": 3, "norm_starts": 1, "norm_groups": 2,
         "dconv_attn": 1, "dconv_lstm": 2, "dconv_mode": 3, "dconv_comp": 2, "segment": 0.1},
        (4410, 4409, 1009, 5),
    ),
    "demucs_v2": Case(
        demucs, "demucs.demucs", "Demucs",
        {"sources": _STEMS, "channels": 4, "depth": 3, "norm_starts": 99, "dconv_mode": 0,
         "lstm_layers": 2, "gelu": False, "audio_channels": 1, "segment": 0.1, "normalize": False},
        (4410, 1009, 5), channels=1,
    ),
    "hdemucs": Case(
        hybrid_demucs, "demucs.hdemucs", "HDemucs",
        {"sources": _STEMS, "channels": 4, "nfft": 64, "depth": 3, "norm_starts": 1,
         "norm_groups": 2, "dconv_attn": 1, "dconv_lstm": 2, "dconv_comp": 2, "segment": 0.1},
        (4410, 4409, 1009, 5),
    ),
    "hdemucs_old": Case(
        hybrid_demucs, "demucs.hdemucs", "HDemucs",
        {"sources": _STEMS, "channels": 4, "nfft": 64, "depth": 3, "hybrid_old": True,
         "dconv_mode": 3, "dconv_comp": 1, "context_enc": 1, "segment": 0.1},
        (4409, 1009),
    ),
    "hdemucs_magnitudes": Case(
        hybrid_demucs, "demucs.hdemucs", "HDemucs",
        {"sources": _STEMS, "channels": 4, "nfft": 64, "depth": 3, "cac": False,
         "wiener_iters": 1, "end_iters": 1, "wiener_residual": True, "dconv_comp": 1,
         "rewrite": False, "segment": 0.1},
        (6000, 1009),
    ),
    "hdemucs_bands": Case(
        hybrid_demucs, "demucs.hdemucs", "HDemucs",
        {"sources": _STEMS, "channels": 4, "nfft": 256, "depth": 3, "norm_starts": 2,
         "norm_groups": 2, "dconv_mode": 3, "dconv_comp": 2, "channels_time": 6,
         "multi_freqs": [0.3, 0.6], "multi_freqs_depth": 2, "segment": 0.1},
        (4410, 1009),
    ),
    "htdemucs": Case(
        htdemucs, "demucs.htdemucs", "HTDemucs",
        {"sources": _STEMS, "channels": 4, "nfft": 512, "depth": 3, "norm_starts": 2,
         "norm_groups": 2, "dconv_mode": 3, "dconv_comp": 2, "bottom_channels": 12,
         "t_layers": 3, "t_heads": 3, "t_hidden_scale": 2.0, "segment": 0.1},
        (4410, 4409, 1009, 5),
    ),
    "htdemucs_norm_last": Case(
        htdemucs, "demucs.htdemucs", "HTDemucs",
        {"sources": _STEMS, "channels": 4, "nfft": 512, "depth": 3, "dconv_comp": 2,
         "t_layers": 2, "t_heads": 4, "t_cross_first": True, "t_norm_first": False,
         "t_layer_scale": False, "t_gelu": False, "t_norm_in": False, "audio_channels": 1,
         "use_train_segment": False, "segment": 0.1},
        (4410, 1009), channels=1,
    ),
    "conv_tasnet": Case(
        conv_tasnet, "asteroid.models", "ConvTasNet",
        {"n_src": 2, "n_blocks": 3, "n_repeats": 2, "bn_chan": 8, "hid_chan": 12, "skip_chan": 6,
         "n_filters": 16},
        (4000, 3999, 1009), channels=1,
    ),
    "conv_tasnet_causal": Case(
        conv_tasnet, "asteroid.models", "ConvTasNet",
        {"n_src": 3, "n_blocks": 2, "n_repeats": 2, "bn_chan": 8, "hid_chan": 12, "skip_chan": 0,
         "n_filters": 16, "norm_type": "cgLN", "causal": True, "mask_act": "softmax",
         "encoder_activation": "relu"},
        (4000, 1009), channels=1,
    ),
    "conv_tasnet_batch": Case(
        conv_tasnet, "asteroid.models", "ConvTasNet",
        {"n_src": 2, "n_blocks": 2, "n_repeats": 1, "bn_chan": 8, "hid_chan": 12, "skip_chan": 6,
         "n_filters": 16, "norm_type": "bN", "mask_act": "relu"},
        (1009,), channels=1,
    ),
}  # fmt: skip

UMX_TARGETS = ("vocals", "drums")
UMX = {
    "nb_bins": 129, "nb_channels": 2, "hidden_size": 16, "nb_layers": 2, "max_bin": 93,
}  # fmt: skip


def umx_config(*, niter=1, residual=False, softmask=False, channels=2, **kwargs):
    """Return the configuration of ours for the nets of :data:`UMX`."""
    return open_unmix.config_from_published(
        {**UMX, "nb_channels": channels, "targets": UMX_TARGETS, "niter": niter,
         "residual": residual, "softmask": softmask, "n_fft": 256, "n_hop": 64,
         "wiener_win_len": 20, **kwargs}
    )  # fmt: skip


def mix_of(case_channels, samples, batch=1, dtype=torch.float64):
    """Return noise with an offset and two channels that have something in common."""
    generator = torch.Generator().manual_seed(samples)
    noise = torch.randn(batch, case_channels, samples, generator=generator, dtype=torch.float64)
    return (0.1 * noise + 0.05 * noise.roll(3, -1).flip(1) + 0.01).to(dtype)
