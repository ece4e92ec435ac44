"""Envelopes of notes."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._values import broadcast_shapes, check_range

__all__ = ["adsr"]


def adsr(
    samples: int,
    *,
    sample_rate: float,
    attack_s: float | Tensor,
    decay_s: float | Tensor,
    sustain: float | Tensor,
    release_s: float | Tensor,
    gate_s: float | Tensor,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw attack, decay, sustain and release of a note that is held for ``gate_s``.

    The level rises linearly to 1 within ``attack_s``, then falls exponentially toward ``sustain``
    with the time constant ``decay_s``; from ``gate_s`` on it falls exponentially toward 0 with the
    time constant ``release_s``, from where it is (a note let go during the attack does not jump).

    Args:
        samples: Length of the result.
        sample_rate: In Hz.
        attack_s: Seconds to the top; 0 starts there.
        decay_s: Seconds to 1/e of the way; 0 is at ``sustain`` at once.
        sustain: Level held, usually in [0, 1].
        release_s: Seconds to 1/e; 0 is silent at once.
        gate_s: Seconds until the key is let go.
        start: Number of the first sample, to draw an envelope in blocks.
        dtype: Of the result.
        device: Of the result; that of the tensors among the arguments if not given.

    Returns:
        ``(..., samples)``, where ``(...)`` is the broadcast shape of the arguments; differentiable
        in all of them.
    """
    if samples < 0:
        raise ParameterError(f"samples is {samples}; expected at least 0")
    check_range(sample_rate, "sample_rate", above=0)
    named = {
        "attack_s": attack_s,
        "decay_s": decay_s,
        "sustain": sustain,
        "release_s": release_s,
        "gate_s": gate_s,
    }
    if device is None:
        found = [v.device for v in named.values() if isinstance(v, Tensor)]
        device = found[0] if found else None
    values = []
    for name, value in named.items():
        check_range(value, name, above=0, closed=True)
        wide = torch.float32 if str(device).startswith("mps") else torch.float64
        values.append(torch.as_tensor(value, dtype=wide, device=device).unsqueeze(-1))
    attack, decay, level, release, gate = values
    time = torch.arange(start, start + samples, dtype=gate.dtype, device=gate.device) / sample_rate
    held = _held(torch.minimum(time, gate), attack, decay, level)
    fade = torch.exp(-(time - gate).clamp_min(0) / release.clamp_min(1e-9))
    shape = broadcast_shapes(held.shape, fade.shape)
    return (held * fade).expand(shape).to(dtype)


def _held(time: Tensor, attack: Tensor, decay: Tensor, level: Tensor) -> Tensor:
    rise = time / attack.clamp_min(1e-9)
    fall = level + (1 - level) * torch.exp(-(time - attack).clamp_min(0) / decay.clamp_min(1e-9))
    return torch.where(time < attack, rise, fall)
