"""What lies between encoder and decoder of the spectrogram U-Nets.

Each maps ``(batch, maps, rows, steps)`` to ``(batch, 2 * maps, rows, steps)`` and returns its
latent, or None, with it. Rows are what five levels leave of the frequency bins, steps of the
frames.
"""

import torch
from torch import Tensor, nn

from sonograd.separators.blocks import ConvBlock, linear, selu_conv, selu_linear

__all__ = [
    "ConvBottleneck",
    "Latent",
    "RecurrentBottleneck",
    "ResidualLSTM",
    "VariationalBottleneck",
]

#: Mean and log-variance, each ``(batch, steps, features)``.
Latent = tuple[Tensor, Tensor]

#: Log-variances stay within plus and minus this value, in nepers of power.
LOG_VARIANCE_LIMIT = 10.0


class ConvBottleneck(nn.Module):
    """Three convolutions, the last of which doubles the maps."""

    def __init__(self, maps: int) -> None:
        """Set the number of maps that come in."""
        super().__init__()
        self.block = ConvBlock(maps, maps, 2 * maps)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the doubled maps, and no latent."""
        return self.block(x), None


class ResidualLSTM(nn.Module):
    """Stacked bidirectional LSTM layers over the steps of each item, added to their input.

    The sum keeps the unit variance of its input, since the state of an LSTM starts small.
    """

    def __init__(self, features: int, depth: int, dropout_p: float) -> None:
        """Set the size of input and output; each direction has half of it."""
        super().__init__()
        self.lstm = nn.LSTM(
            features,
            features // 2,
            num_layers=depth,
            dropout=dropout_p if depth > 1 else 0.0,
            bidirectional=True,
            batch_first=True,
        )
        self._reset()

    def _reset(self) -> None:
        """Start with LeCun normal inputs, orthogonal recurrence and open forget gates."""
        size = self.lstm.hidden_size
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.kaiming_normal_(parameter, nonlinearity="linear")
            elif name.startswith("weight_hh"):
                for gate in parameter.data.split(size):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(parameter)
                if name.startswith("bias_ih"):
                    parameter.data[size : 2 * size].fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, steps, features)`` to the same shape."""
        result: Tensor = x + self.lstm(x)[0]
        return result


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
    ) -> None:
        """Build the projections and the recurrence, see the configuration for the arguments."""
        super().__init__()
        self.input_axis = input_axis
        self.maps = maps // 2
        features = self.maps * (rows if input_axis == 1 else 1)
        self.narrow = selu_conv(maps, self.maps, 1)
        self.squeeze = self._squeeze(features, hidden_size)
        self.recurrence = ResidualLSTM(hidden_size, recurrent_depth, dropout_p)
        self.expand = selu_linear(hidden_size, features)
        self.widen = selu_conv(self.maps, 2 * maps, 1)

    def _squeeze(self, features: int, hidden_size: int) -> nn.Module:
        return selu_linear(features, hidden_size)

    def _encode(self, x: Tensor) -> tuple[Tensor, Latent | None]:
        """Map ``(sequences, length, features)`` to what the recurrence runs over."""
        return self.squeeze(x), None

    def forward(self, x: Tensor) -> tuple[Tensor, Latent | None]:
        """Return the doubled maps, and the latent if there is one."""
        batch, _, rows, steps = x.shape
        sequence = self._to_sequence(self.narrow(x))
        hidden, latent = self._encode(sequence)
        y = self.expand(self.recurrence(hidden))
        if latent is not None:
            mean, log_variance = (part.reshape(batch, -1, part.shape[-1]) for part in latent)
            latent = mean, log_variance
        return self.widen(self._to_maps(y, batch, rows, steps)), latent

    def _to_sequence(self, x: Tensor) -> Tensor:
        if self.input_axis == 1:
            return x.permute(0, 3, 1, 2).flatten(2)
        return x.permute(0, 3, 2, 1).flatten(0, 1)

    def _to_maps(self, y: Tensor, batch: int, rows: int, steps: int) -> Tensor:
        if self.input_axis == 1:
            return y.reshape(batch, steps, self.maps, rows).permute(0, 2, 3, 1)
        return y.reshape(batch, steps, rows, self.maps).permute(0, 3, 2, 1)


class VariationalBottleneck(RecurrentBottleneck):
    """The recurrent bottleneck over a Gaussian latent (Kingma and Welling, 2014).

    The latent is drawn in training; in evaluation it is its mean.
    """

    def _squeeze(self, features: int, hidden_size: int) -> nn.Module:
        self.mean = linear(features, hidden_size)
        self.log_variance = linear(features, hidden_size)
        # Start with little noise, so that the first steps see the signal.
        nn.init.normal_(self.log_variance.weight, std=0.1 * features**-0.5)
        nn.init.constant_(self.log_variance.bias, -4.0)
        return selu_linear(hidden_size, hidden_size)

    def _encode(self, x: Tensor) -> tuple[Tensor, Latent]:
        # The latent is float32 also under autocast: its variance spans nine decades.
        mean = _at_least_float32(self.mean(x))
        raw = _at_least_float32(self.log_variance(x))
        log_variance = LOG_VARIANCE_LIMIT * torch.tanh(raw / LOG_VARIANCE_LIMIT)
        drawn = mean
        if self.training:
            drawn = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.squeeze(drawn.to(x.dtype)), (mean, log_variance)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
