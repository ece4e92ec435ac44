"""What lies between encoder and decoder of the spectrogram U-Nets.

Each maps ``(batch, maps, rows, steps)`` to the same shape and returns its latent, or None, with it.
Rows are what the levels leave of the frequency bins, steps of the frames.
"""

import torch
from torch import Tensor, nn

from sonograd.separators.blocks import ResidualBlock, linear, selu_linear

__all__ = [
    "ConvBottleneck",
    "GaussianLatent",
    "Latent",
    "RecurrentBottleneck",
    "ResidualLSTM",
    "Squeeze",
]

#: Mean and log-variance, each ``(batch, steps, features)``.
Latent = tuple[Tensor, Tensor]

#: Log-variances stay within plus and minus this value, in nepers of power.
LOG_VARIANCE_LIMIT = 10.0


class ConvBottleneck(nn.Module):
    """Three residual blocks of two convolutions."""

    def __init__(self, maps: int) -> None:
        """Set the number of maps."""
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(maps) for _ in range(3)))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return as many maps, and no latent."""
        return self.blocks(x), None


class ResidualLSTM(nn.Module):
    """Bidirectional LSTM layers over the steps of each item, each added to its input.

    The sums keep the unit variance of the input, since the state of an LSTM starts small.
    """

    def __init__(self, features: int, depth: int, dropout_p: float) -> None:
        """Set the size of input and output, of which each direction has half."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.LSTM(features, features // 2, bidirectional=True, batch_first=True)
            for _ in range(depth)
        )
        self.dropout = nn.Dropout(dropout_p)
        for layer in self.layers:
            _reset_lstm(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, steps, features)`` to the same shape."""
        for layer in self.layers:
            x = x + self.dropout(layer(x)[0])
        return x


@torch.no_grad()
def _reset_lstm(layer: nn.Module) -> None:
    """Start with LeCun normal inputs, orthogonal recurrence and open forget gates."""
    for name, parameter in layer.named_parameters():
        gates = parameter.chunk(4)  # input, forget, cell, output
        if name.startswith("weight_ih"):
            nn.init.kaiming_normal_(parameter, nonlinearity="linear")
        elif name.startswith("weight_hh"):
            for gate in gates:
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                nn.init.ones_(gates[1])


class Squeeze(nn.Module):
    """A projection with SELU, without a latent."""

    def __init__(self, features: int, hidden_size: int) -> None:
        """Set the size of input and output."""
        super().__init__()
        self.projection = selu_linear(features, hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Map ``(..., features)`` to ``(..., hidden_size)``."""
        return self.projection(x), None


class GaussianLatent(nn.Module):
    """A Gaussian latent (Kingma and Welling, "Auto-encoding variational Bayes", 2014).

    It is drawn in training; in evaluation it is its mean.
    """

    def __init__(self, features: int, hidden_size: int) -> None:
        """Set the size of input and output; the latent is as wide as the output."""
        super().__init__()
        self.mean = linear(features, hidden_size)
        self.log_variance = linear(features, hidden_size)
        # Start with little noise, so that the first steps see the signal.
        nn.init.normal_(self.log_variance.weight, std=0.1 * features**-0.5)
        nn.init.constant_(self.log_variance.bias, -4.0)
        self.projection = selu_linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Latent]:
        """Map ``(..., features)`` to ``(..., hidden_size)``, with the latent of that shape."""
        # The latent is float32 also under autocast: its variance spans nine decades.
        mean = _at_least_float32(self.mean(x))
        raw = _at_least_float32(self.log_variance(x))
        log_variance = LOG_VARIANCE_LIMIT * torch.tanh(raw / LOG_VARIANCE_LIMIT)
        latent = mean
        if self.training:
            latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.projection(latent.to(x.dtype)), (mean, log_variance)


class RecurrentBottleneck(nn.Module):
    """Recurrence over time or over frequency, never over the batch.

    With ``input_axis`` 1 all rows of a step become one vector, and the recurrence runs over the
    steps. With 0 each step is an item of its own, and the recurrence runs over its rows.
    """

    def __init__(
        self,
        maps: int,
        rows: int,
        *,
        hidden_size: int,
        recurrent_depth: int,
        dropout_p: float,
        input_axis: int,
        variational: bool,
    ) -> None:
        """Build the projections and the recurrence.

        Args:
            maps: Maps that come in.
            rows: Rows that come in.
            hidden_size: Features that the recurrence runs over.
            recurrent_depth: Layers of the recurrence.
            dropout_p: Dropout probability after each of them.
            input_axis: 1 to recur over steps, 0 over rows.
            variational: Recur over a Gaussian latent.
        """
        super().__init__()
        self.input_axis = input_axis
        self.maps = maps
        features = maps * (rows if input_axis == 1 else 1)
        self.encode = (GaussianLatent if variational else Squeeze)(features, hidden_size)
        self.recurrence = ResidualLSTM(hidden_size, recurrent_depth, dropout_p)
        self.expand = selu_linear(hidden_size, features)

    def forward(self, x: Tensor) -> tuple[Tensor, Latent | None]:
        """Return as many maps, and the latent if there is one."""
        batch, _, rows, steps = x.shape
        hidden, latent = self.encode(self._to_sequence(x))
        y = self._to_maps(self.expand(self.recurrence(hidden)), batch, rows, steps)
        if latent is not None:
            # For input_axis 1 these are the steps; for 0, the rows of every step.
            length = steps * (rows if self.input_axis == 0 else 1)
            size = (batch, length, latent[0].shape[-1])
            latent = latent[0].reshape(size), latent[1].reshape(size)
        return y, latent

    def _to_sequence(self, x: Tensor) -> Tensor:
        if self.input_axis == 1:
            return x.permute(0, 3, 1, 2).flatten(2)
        return x.permute(0, 3, 2, 1).flatten(0, 1)

    def _to_maps(self, y: Tensor, batch: int, rows: int, steps: int) -> Tensor:
        if self.input_axis == 1:
            return y.reshape(batch, steps, self.maps, rows).permute(0, 2, 3, 1)
        return y.reshape(batch, steps, rows, self.maps).permute(0, 3, 2, 1)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
