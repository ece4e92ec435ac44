"""What the published hybrid Demucs models have in common: their plan, arguments and tensors."""

import math
from collections.abc import Mapping
from typing import Any

from sonograd.separators.chunking import ChunkPlan

__all__ = ["HYBRID_DEFAULTS", "HYBRID_RULES", "demucs_plan", "hybrid_values"]


def demucs_plan(
    seconds: float, sample_rate: int, *, shortest: int = 1, step: int = 1, overlap: float = 0.25
) -> ChunkPlan:
    """Return how the Demucs models cut a song.

    Weights rise and fall over the whole chunk. A chunk that the end of the song cuts short is
    seen as it is, or with as much of the song before it, and of silence behind it, as it takes to
    have one of the lengths ``shortest + k * step``.
    """
    length = max(math.floor(seconds * sample_rate + 1e-6), 1)
    return ChunkPlan(
        length=length,
        hop=max(int((1 - overlap) * length), 1),
        fade=-(-length // 2),
        fade_start=1,
        fit=(shortest, step),
    )


#: Arguments that both published classes have, and their defaults.
HYBRID_DEFAULTS: Mapping[str, Any] = {
    "sources": None, "audio_channels": 2, "channels": 48, "growth": 2, "nfft": 4096,
    "wiener_iters": 0, "wiener_residual": False, "cac": True, "depth": 4, "rewrite": True,
    "freq_emb": 0.2, "emb_scale": 10, "kernel_size": 8, "stride": 4, "context": 1,
    "context_enc": 0, "norm_starts": 4, "norm_groups": 4, "dconv_mode": 1, "dconv_depth": 2,
    "dconv_comp": 8, "dconv_init": 1e-3, "rescale": 0.1, "samplerate": 44100, "segment": 10,
}  # fmt: skip

#: From published names of tensors to ours.
HYBRID_RULES = (
    (r"^((?:en|de)coder\.\d+)\.layers\.(\d+)\.", r"\1.bands.\2."),
    (r"^tencoder\.", "time_encoder."),
    (r"^tdecoder\.", "time_decoder."),
    (r"(encoder\.\d+)\.norm1\.", r"\1.norm."),
    (r"(encoder\.\d+)\.norm2\.", r"\1.gate_norm."),
    (r"(decoder\.\d+)\.norm1\.", r"\1.gate_norm."),
    (r"(decoder\.\d+)\.norm2\.", r"\1.norm."),
    (r"(coder\.\d+(?:\.bands\.\d+)?)\.rewrite\.", r"\1.gate."),
    (r"(coder\.\d+(?:\.bands\.\d+)?)\.conv_tr\.", r"\1.conv."),
    (r"(coder\.\d+(?:\.bands\.\d+)?)\.dconv\.layers\.", r"\1.branches."),
    (r"^freq_emb\.embedding\.", "frequencies."),
)


def hybrid_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that both configurations have from arguments of the published classes."""
    return {
        "targets": given["sources"],
        "num_channels": given["audio_channels"],
        "num_hidden_channels": given["channels"],
        "growth": given["growth"],
        "num_fft": given["nfft"],
        "complex_channels": given["cac"],
        "wiener_iterations": max(given["wiener_iters"], -1),
        "wiener_residual": given["wiener_residual"],
        "depth": given["depth"],
        "kernel_size": given["kernel_size"],
        "stride": given["stride"],
        "context": given["context"],
        "context_encoder": given["context_enc"],
        "rewrite": given["rewrite"],
        "frequency_embedding": float(given["freq_emb"] or 0),
        "embedding_scale": given["emb_scale"],
        "norm_starts": given["norm_starts"],
        "norm_groups": given["norm_groups"],
        "branch_in_encoder": bool(given["dconv_mode"] & 1),
        "branch_in_decoder": bool(given["dconv_mode"] & 2),
        "branch_depth": given["dconv_depth"],
        "branch_compression": given["dconv_comp"],
        "branch_init": given["dconv_init"],
        "sample_length": given["segment"],
        "sample_rate": given["samplerate"],
        "rescale": given["rescale"],
    }
