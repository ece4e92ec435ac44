"""Freeverb, the reverb of eight combs and four all-passes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ShapeError
from sonograd.functional import _kernels
from sonograd.functional._transforms import plain_form_needed
from sonograd.functional.recursion import sosfilt_stream

__all__ = ["FreeverbState", "freeverb"]

_COMBS = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)  # samples at 44.1 kHz
_ALL_PASSES = (556, 441, 341, 225)
_SPREAD = 23  # by which the right channel is longer
_GAIN = 0.015
_SEGMENT = 1 << 15  # samples that compiled combs run at once
_FEW = 8  # turns of an all-pass that are cheaper one by one


@dataclass(frozen=True)
class FreeverbState:
    """What the reverb remembers between blocks.

    Attributes:
        combs: Last inputs of the comb delays, ``(batch, lines, longest)``.
        heard: Last outputs of the comb delays, which the damping still hears.
        all_passes: Last inputs of each all-pass delay, ``(batch, samples)``.
    """

    combs: Tensor
    heard: Tensor
    all_passes: tuple[Tensor, ...]


def freeverb(
    x: Tensor,
    *,
    room_size: Tensor,
    damping: Tensor,
    sample_rate: float,
    state: FreeverbState | None = None,
) -> tuple[Tensor, FreeverbState]:
    r"""Return the reverberation, one channel for mono and two for stereo.

    The sum of the channels, times 0.015, enters eight parallel combs
    :math:`v_n = x_n + f\, h * v_{n-N}` with :math:`f = 0.28\,room + 0.7` and the damping
    :math:`h = (1 - d) / (1 - d z^{-1})`, :math:`d = 0.4\,damping`; their sum passes four
    all-passes :math:`w_n = x_n + w_{n-N} / 2,\; y_n = w_{n-N} - x_n`. The delays at 44.1 kHz are
    those of the original (Jezar at Dreampoint, 2000, public domain), 23 samples longer on the
    right. The combs run 1100 samples at a time; :math:`d^{24} < 3 \cdot 10^{-10}`, so that their
    damping is a sum of 24 samples within rounding, of 48 in float64.

    Args:
        x: The next samples ``(batch, 1 or 2, samples)``.
        room_size: In [0, 1], ``(1 or batch, 1, 1)``.
        damping: In [0, 1], ``(1 or batch, 1, 1)``.
        sample_rate: In Hz.
        state: What the call before returned; None at the start.

    Returns:
        ``(batch, channels, samples)``, and the state.
    """
    batch, channels = x.shape[:2]
    if channels not in {1, 2}:
        raise ShapeError(f"x has {channels} channels; freeverb takes 1 or 2")
    delays = _delays(_COMBS, channels, sample_rate)
    if state is None:
        state = FreeverbState(
            x.new_zeros(batch, len(delays), max(delays)),
            x.new_zeros(batch, len(delays), _depth(x) - 1),
            tuple(x.new_zeros(batch, n) for n in _delays(_ALL_PASSES, channels, sample_rate)),
        )
    entering = _GAIN * x.sum(1, keepdim=True)
    room_size, damping = room_size.to(x.dtype), damping.to(x.dtype)
    values = (0.28 * room_size + 0.7, 0.4 * damping)
    fast = _compiled(x, *values, state.combs, state.heard, *state.all_passes)
    combs, all_pass = (_fast_combs, _fast_all_pass) if fast else (_combs, _all_pass)
    sums, line, heard = combs(entering, *values, delays, state)
    signals, kept = [], []
    for channel in range(channels):
        signal = sums[:, channel]
        for k in range(len(_ALL_PASSES)):
            place = channel * len(_ALL_PASSES) + k
            signal, memory = all_pass(signal, state.all_passes[place])
            kept.append(memory)
        signals.append(signal)
    return torch.stack(signals, dim=1), FreeverbState(line, heard, tuple(kept))


def _compiled(*tensors: Tensor) -> bool:
    """Tell whether no derivative is asked for, and compiled kernels can run."""
    recorded = torch.is_grad_enabled() and any(v.requires_grad for v in tensors)
    if recorded or tensors[0].device.type != "cpu" or torch.compiler.is_compiling():
        return False
    single = tensors[0].dtype in {torch.float32, torch.float64}
    return single and not plain_form_needed(*tensors) and _kernels.has_fast_kernels()


def _delays(at_44100: tuple[int, ...], channels: int, sample_rate: float) -> list[int]:
    rate = int(sample_rate)
    return [
        max(rate * (delay + channel * _SPREAD) // 44100, 1)
        for channel in range(channels)
        for delay in at_44100
    ]


def _combs(
    x: Tensor, feedback: Tensor, damping: Tensor, delays: list[int], state: FreeverbState
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sums of the combs ``(batch, channels, samples)``, their delays, what was heard."""
    batch, _, longest = state.combs.shape
    block = min(delays)
    first = longest - torch.tensor(delays, device=x.device)[:, None]
    index = (first + torch.arange(block, device=x.device)).expand(batch, -1, -1)
    depth = _depth(x)
    frame = min(depth, block)
    smoothing = _smoothing(damping, depth, frame)
    window, heard = state.combs, state.heard
    outputs = []
    for begin in range(0, x.shape[-1], block):
        now = x[..., begin : begin + block]
        length = now.shape[-1]
        read = window.gather(-1, index[..., :length])
        full = torch.cat([heard, read], dim=-1)
        heard = full[..., length:]
        frames = pad(full, (0, -length % frame)).unfold(-1, depth - 1 + frame, frame)
        smooth = (frames @ smoothing).flatten(-2)[..., :length]
        window = torch.cat([window, now + feedback * smooth], dim=-1)[..., length:]
        outputs.append(read.unflatten(1, (-1, len(_COMBS))).sum(2))
    return torch.cat(outputs, dim=-1), window, heard


def _fast_combs(
    x: Tensor, feedback: Tensor, damping: Tensor, delays: list[int], state: FreeverbState
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`_combs`, one sample after the other."""
    batch, lines, longest = state.combs.shape
    keep = _depth(x) - 1
    shape = (lines // len(_COMBS), len(_COMBS))
    values = torch.cat([feedback, damping], dim=-1).expand(batch, 1, 2)[:, 0].to(torch.float64)
    # What the damping holds, from what it heard.
    fading = values[:, 1:] ** torch.arange(keep - 1, -1, -1) * (1 - values[:, 1:])
    last = (state.heard.to(torch.float64) @ fading[..., None])[..., 0]
    last = last.reshape(batch, *shape).contiguous()
    places = torch.tensor(delays).reshape(shape)
    sums, window, heard = x.new_empty(batch, shape[0], x.shape[-1]), state.combs, state.heard
    for begin in range(0, x.shape[-1], _SEGMENT):
        now = x[:, 0, begin : begin + _SEGMENT].contiguous()
        length = now.shape[-1]
        line = torch.cat([window, window.new_empty(batch, lines, length)], dim=-1)
        out = x.new_empty(batch, shape[0], length)
        for k in range(batch):
            arrays = (now[k], places, values[k], last[k], line[k].view(*shape, -1), out[k])
            _kernels.freeverb(*(v.numpy() for v in arrays))
        ends = [line[:, i, longest - n : longest - n + length] for i, n in enumerate(delays)]
        heard = torch.cat([heard, torch.stack(ends, dim=1)[..., -keep:]], dim=-1)[..., -keep:]
        window = line[..., length:]
        sums[..., begin : begin + length] = out
    return sums, window.clone(), heard


def _fast_all_pass(x: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`_all_pass`, one sample after the other."""
    x, delay = x.contiguous(), line.shape[-1]
    w = torch.cat([line, torch.empty_like(x)], dim=-1)
    out = torch.empty_like(x)
    _kernels.all_pass(x.numpy(), delay, w.numpy(), out.numpy())
    return out, w[..., x.shape[-1] :].clone()


def _depth(x: Tensor) -> int:
    """Taps after which ``damping^n`` is below rounding."""
    return 48 if x.dtype == torch.float64 else 24


def _smoothing(damping: Tensor, depth: int, frame: int) -> Tensor:
    """Toeplitz matrix of ``(1 - d) d^n`` that maps the last samples and a frame to the frame."""
    d = damping[:, 0]
    impulse = torch.cat([1 - d, d.expand(-1, depth - 1)], dim=-1).cumprod(-1)
    # Row j holds what sample j of the earlier ones and the frame gives to each of the frame.
    time = torch.arange(frame, device=d.device) + (depth - 1)
    lag = time - torch.arange(depth - 1 + frame, device=d.device)[:, None]
    matrix = impulse[:, lag.clamp(0, depth - 1)]
    # Numbers too small for full precision would slow the product down tenfold.
    large = (matrix > 1e-30) | (lag < 2)
    return torch.where((lag >= 0) & (lag < depth) & large, matrix, 0.0)[:, None]


def _all_pass(x: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """``w[n] = x[n] + w[n - N] / 2``, ``y[n] = w[n - N] - x[n]`` for ``x (batch, samples)``.

    Samples that are ``N`` apart are independent of the others: each class is a filter of order 1.
    """
    delay, samples = line.shape[-1], x.shape[-1]
    if samples <= _FEW * delay:
        parts = [line]
        for begin in range(0, samples, delay):
            now = x[..., begin : begin + delay]
            parts.append(now + parts[-1][..., : now.shape[-1]] / 2)
        w = torch.cat(parts, dim=-1)
    else:
        rows = pad(x, (0, -samples % delay)).unflatten(-1, (-1, delay)).mT
        start = torch.stack([line, torch.zeros_like(line)], dim=-1)[..., None, :]
        sos = torch.tensor([[1.0, 0, 0, 1, -0.5, 0]], dtype=torch.float64, device=x.device)
        filtered, _ = sosfilt_stream(rows, sos, start.to(torch.float64))
        w = torch.cat([line, filtered.mT.flatten(-2)[..., :samples]], dim=-1)
    return w[..., :samples] - x, w[..., samples:]
