"""Blocks that the Demucs models share: residual branches, and the weights they start from.

Défossez, *Hybrid spectrogram and waveform source separation*, 2021 (arXiv:2111.03600).
"""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.separators.bandwise import bands, may_work_in_bands

__all__ = ["BiLSTM", "LayerScale", "LocalAttention", "ResidualBranches", "rescale_"]

#: Steps that an LSTM inside a branch sees at a time.
_LSTM_STEPS = 200


class LayerScale(nn.Module):
    """A learned factor per map of ``(batch, maps, steps)``, or per feature where they are last."""

    def __init__(self, maps: int, init: float, *, last: bool = False) -> None:
        """Start from ``init`` everywhere."""
        super().__init__()
        self.scale = nn.Parameter(torch.full((maps,), float(init)))
        self._last = last

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x``."""
        return x * (self.scale if self._last else self.scale[:, None])


class BiLSTM(nn.Module):
    """A bidirectional LSTM over steps, projected back to the features that came in.

    With ``max_steps``, longer sequences are cut into pieces of that many steps which overlap by
    half, each starts from nothing, and of each the middle is kept.
    """

    def __init__(
        self, features: int, layers: int, *, max_steps: int | None = None, residual: bool = False
    ) -> None:
        """Build the recurrence; ``residual`` adds what came in."""
        super().__init__()
        self.lstm = nn.LSTM(features, features, layers, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * features, features)
        self.max_steps = max_steps
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, features, steps)`` to the same shape."""
        size = self.max_steps
        y = x.mT if size is None or x.shape[-1] <= size else self._pieces(x, size)
        y = self.linear(self.lstm(y)[0])
        if y.shape[0] != x.shape[0]:
            y = self._join(y, x.shape[0], x.shape[-1])
        return y.mT + x if self.residual else y.mT

    @staticmethod
    def _pieces(x: Tensor, size: int) -> Tensor:
        """Return ``(batch * pieces, size, features)``."""
        hop = size // 2
        pieces = -(-x.shape[-1] // hop)
        padded = F.pad(x, (0, (pieces - 1) * hop + size - x.shape[-1]))
        return padded.unfold(-1, size, hop).permute(0, 2, 3, 1).flatten(0, 1)

    @staticmethod
    def _join(y: Tensor, batch: int, steps: int) -> Tensor:
        """Keep the middle of every piece, and both ends."""
        size = y.shape[1]
        edge = size // 4
        y = y.unflatten(0, (batch, -1))
        first, last = y[:, :1, : size - edge], y[:, -1:, edge:]
        middle = y[:, 1:-1, edge : size - edge]
        whole = torch.cat([part.flatten(1, 2) for part in (first, middle, last)], dim=1)
        return whole[:, :steps]


class LocalAttention(nn.Module):
    """Attention over steps that fades with the distance, as fast as each query wants.

    No step attends to itself: what it is comes through the residual connection.
    """

    heads = 4
    #: Rates of decay that a query mixes.
    decays = 4

    def __init__(self, features: int) -> None:
        """Build the projections; a new one sees far."""
        super().__init__()
        self.content = nn.Conv1d(features, features, 1)
        self.query = nn.Conv1d(features, features, 1)
        self.key = nn.Conv1d(features, features, 1)
        self.query_decay = nn.Conv1d(features, self.heads * self.decays, 1)
        self.proj = nn.Conv1d(features, features, 1)
        with torch.no_grad():
            self.query_decay.weight.mul_(0.01)
            nn.init.constant_(self.query_decay.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, features, steps)`` to the same shape."""
        steps = x.shape[-1]
        queries, keys, content = (
            layer(x).unflatten(1, (self.heads, -1))
            for layer in (self.query, self.key, self.content)
        )
        scores = queries.mT @ keys / math.sqrt(keys.shape[2])
        rates = torch.sigmoid(self.query_decay(x).unflatten(1, (self.heads, -1))) / 2
        order = torch.arange(1, self.decays + 1, device=x.device, dtype=x.dtype)
        rate = (rates * order[:, None]).sum(2) / math.sqrt(self.decays)
        place = torch.arange(steps, device=x.device, dtype=x.dtype)
        distance = (place[:, None] - place).abs()
        scores = scores - rate[..., None] * distance
        itself = torch.eye(steps, dtype=torch.bool, device=x.device)
        weights = torch.softmax(scores.masked_fill(itself, -100.0), dim=-1)
        result: Tensor = self.proj((content @ weights.mT).flatten(1, 2))
        return x + result


class _Branch(nn.Sequential):
    """A narrow dilated convolution, perhaps layers along time, and a gated way back to all maps.

    Convolutions are products of matrices, which for so few maps and many rows are several times
    faster. The norm of the gates is never computed on them: mean and deviation of what is linear in
    a few maps follow from the means and covariances of these.
    """

    def __init__(
        self, maps: int, narrow: int, *, dilation: int, init: float, lstm: bool, attention: bool
    ) -> None:
        middle: list[nn.Module] = []
        if lstm:
            middle.append(BiLSTM(narrow, 2, max_steps=_LSTM_STEPS, residual=True))
        if attention:
            middle.append(LocalAttention(narrow))
        super().__init__(
            nn.Conv1d(maps, narrow, 3, dilation=dilation, padding=dilation),
            nn.GroupNorm(1, narrow),
            nn.GELU(),
            *middle,
            nn.Conv1d(narrow, 2 * maps, 1),
            nn.GroupNorm(1, 2 * maps),
            nn.GLU(1),
            LayerScale(maps, init),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(rows, maps, steps)`` to the same shape; the branch is added to what came in."""
        first, *inner, expand, norm, _, scale = self
        assert isinstance(first, nn.Conv1d) and isinstance(expand, nn.Conv1d)
        assert isinstance(norm, nn.GroupNorm) and isinstance(scale, LayerScale)
        y = _three_taps(x, first)
        for layer in inner:
            y = layer(y)
        weight, bias = _normed(y, expand, norm)
        factor = torch.cat((scale.scale, torch.ones_like(scale.scale)))
        bias = (bias * factor).unsqueeze(-1).to(y.dtype)
        weight = (weight * factor[:, None]).to(y.dtype)
        if not may_work_in_bands(y):
            return _plus_gated(x, y, weight, bias)
        result = torch.empty_like(x)
        for begin, end in bands(x, -1):
            result[..., begin:end] = _plus_gated(x[..., begin:end], y[..., begin:end], weight, bias)
        return result


def _plus_gated(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Add to ``x`` the gated linear units of a linear map of ``y``."""
    values, gate = torch.baddbmm(bias, weight, y).chunk(2, dim=1)
    return torch.addcmul(x, values.to(x.dtype), gate.sigmoid().to(x.dtype))


def _three_taps(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Convolve ``(rows, maps, steps)`` with three taps: each tap's share first, then their sum."""
    assert conv.bias is not None
    dilation = conv.dilation[0]
    weight = conv.weight.permute(2, 0, 1).flatten(0, 1)
    taps = torch.bmm(weight.expand(x.shape[0], -1, -1), x).unflatten(1, (3, -1))
    y: Tensor = taps[:, 1] + conv.bias[:, None].to(taps.dtype)
    y[..., dilation:] += taps[:, 0, :, :-dilation]
    y[..., :-dilation] += taps[:, 2, :, dilation:]
    return y


def _normed(y: Tensor, conv: nn.Conv1d, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """Return weights and bias, per row, with which a linear map of ``y`` comes out normalized."""
    assert conv.bias is not None
    full = y.float() if y.dtype in {torch.float16, torch.bfloat16} else y
    kind = y.device.type
    # Not without need: a graph for another runtime cannot hold it.
    is_lower = torch.is_autocast_enabled(kind)
    with torch.autocast(kind, enabled=False) if is_lower else nullcontext():
        weight = conv.weight[..., 0].to(full.dtype)
        center = full.mean(-1, keepdim=True)
        apart = full - center
        covariance = apart @ apart.mT / full.shape[-1]
        means = (weight @ center)[..., 0] + conv.bias.to(full.dtype)  # (rows, 2 * maps)
        mean = means.mean(-1, keepdim=True)
        within = ((weight @ covariance) * weight).sum(-1).mean(-1, keepdim=True)
        variance = within + (means - mean).square().mean(-1, keepdim=True)
        factor = norm.weight * (variance + norm.eps).rsqrt()
        bias = (conv.bias - mean) * factor + norm.bias
        return weight * factor.unsqueeze(-1), bias


class ResidualBranches(nn.ModuleList):
    """Narrow residual branches of dilated convolutions, one after the other."""

    def __init__(
        self,
        maps: int,
        *,
        compression: float,
        depth: int,
        init: float,
        lstm: bool = False,
        attention: bool = False,
    ) -> None:
        """Build the branches.

        Args:
            maps: Maps that come in and go out.
            compression: How many times fewer a branch has.
            depth: Branches; each doubles the dilation.
            init: Initial scale of a branch.
            lstm: Recur over steps in each.
            attention: Attend over steps in each.
        """
        narrow = int(maps / compression)
        super().__init__(
            _Branch(maps, narrow, dilation=2**level, init=init, lstm=lstm, attention=attention)
            for level in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, maps, steps)`` to the same shape."""
        for branch in self:
            x = branch(x)
        return x


def rescale_(module: nn.Module, reference: float) -> None:
    """Move the standard deviation of all convolutions halfway to ``reference``, in place."""
    if not reference:
        return
    kinds = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, kinds) and layer.weight.numel() > 1:
                factor = (reference / layer.weight.std()).sqrt()
                layer.weight.mul_(factor)
                if layer.bias is not None:
                    layer.bias.mul_(factor)
