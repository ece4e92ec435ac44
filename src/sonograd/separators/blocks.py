"""Blocks of the spectrogram U-Nets: self-normalizing, without any statistics over a batch.

Every convolution starts from LeCun's normal initialization and is followed by SELU, whose fixed
point keeps activations near zero mean and unit variance through depth (Klambauer et al.,
"Self-Normalizing Neural Networks", 2017); dropout is the alpha dropout of that paper, which keeps
both. Skips are concatenated, since a sum would double the variance, and resolution is halved by
a learned filter, since a maximum would shift the mean. No layer looks at two items of a batch.
"""

import torch
from torch import Tensor, nn

__all__ = ["ConvBlock", "DownBlock", "PerBinAffine", "UNet", "UpBlock", "selu_conv", "selu_linear"]


def lecun_(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw the weights of ``layer`` with variance ``1 / fan_in`` and clear its bias, in place."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def selu_conv(inputs: int, outputs: int, kernel_size: int) -> nn.Sequential:
    """Return a convolution of equal output size, followed by SELU."""
    conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2)
    lecun_(conv)
    return nn.Sequential(conv, nn.SELU())


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with LeCun's normal initialization."""
    layer = nn.Linear(inputs, outputs)
    lecun_(layer)
    return layer


def selu_linear(inputs: int, outputs: int) -> nn.Sequential:
    """Return a linear layer followed by SELU."""
    return nn.Sequential(linear(inputs, outputs), nn.SELU())


class ConvBlock(nn.Sequential):
    """Three 3 x 3 convolutions with SELU, from ``inputs`` over ``hidden`` to ``outputs`` maps."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        """Set the number of maps before, between and after the convolutions."""
        super().__init__(
            selu_conv(inputs, hidden, 3),
            selu_conv(hidden, hidden, 3),
            selu_conv(hidden, outputs, 3),
        )


class DownBlock(nn.Module):
    """Three convolutions, then half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Set the number of maps before and after."""
        super().__init__()
        self.block = ConvBlock(inputs, outputs, outputs)
        # One 4 x 4 filter per map: a pooling that keeps mean and variance.
        self.pool = nn.Conv2d(outputs, outputs, 4, stride=2, padding=1, groups=outputs)
        lecun_(self.pool)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(batch, inputs, bins, frames)`` to the skip and to the maps of half its size."""
        skip = self.block(x)
        return skip, self.pool(skip)


class UpBlock(nn.Module):
    """Twice the resolution, joined with the skip of the same level, then three convolutions."""

    def __init__(self, inputs: int, outputs: int, dropout_p: float) -> None:
        """Set the number of maps before and after, and the dropout between the two."""
        super().__init__()
        self.reduce = selu_conv(inputs, outputs, 1)
        # Repeating values, then convolving, leaves no checkerboard.
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.dropout = nn.FeatureAlphaDropout(dropout_p)
        self.block = ConvBlock(2 * outputs, outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``(batch, inputs, bins / 2, frames / 2)`` and the skip to the size of the skip."""
        upsampled = self.upsample(self.reduce(x))
        result: Tensor = self.block(self.dropout(torch.cat([upsampled, skip], dim=1)))
        return result


class PerBinAffine(nn.Module):
    """Learned scale and shift of each frequency bin, and of each group of maps."""

    def __init__(self, bins: int, groups: int = 1) -> None:
        """Start as the identity."""
        super().__init__()
        self.scale = nn.Parameter(torch.ones(groups, 1, bins, 1))
        self.shift = nn.Parameter(torch.zeros(groups, 1, bins, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift ``(batch, maps, bins, frames)``; maps are split evenly into groups."""
        grouped = x.unflatten(1, (self.scale.shape[0], -1))
        result: Tensor = (grouped * self.scale + self.shift).flatten(1, 2)
        return result


class UNet(nn.Module):
    """Five blocks down, a bottleneck, five blocks up, with a skip on each level.

    Sizes that are no multiple of :attr:`stride` are filled up with zeros, the mean of the
    features, and cut again.
    """

    levels: int = 5
    stride: int = 32

    def __init__(
        self, inputs: int, outputs: int, width: int, dropout_p: float, bottleneck: nn.Module
    ) -> None:
        """Build the levels.

        Args:
            inputs: Maps of the features.
            outputs: Maps of the logits.
            width: Maps of the first level; each level doubles them.
            dropout_p: Dropout probability on each level of the decoder.
            bottleneck: From ``16 * width`` to ``32 * width`` maps; returns them with its latent.
        """
        super().__init__()
        widths = [width * 2**level for level in range(self.levels)]
        self.down = nn.ModuleList(
            DownBlock(before, after)
            for before, after in zip([inputs, *widths], widths, strict=False)
        )
        self.bottleneck = bottleneck
        self.up = nn.ModuleList(UpBlock(2 * maps, maps, dropout_p) for maps in reversed(widths))
        self.head = nn.Conv2d(width, outputs, 1)
        lecun_(self.head)

    def forward(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Map features to logits.

        Args:
            features: ``(batch, inputs, bins, frames)``, any number of frames.

        Returns:
            Logits ``(batch, outputs, bins, frames)`` and the latent of the bottleneck.
        """
        bins, frames = features.shape[-2:]
        x = nn.functional.pad(features, (0, -frames % self.stride, 0, -bins % self.stride))
        skips = []
        for down in self.down:
            skip, x = down(x)
            skips.append(skip)
        x, latent = self.bottleneck(x)
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits[..., :bins, :frames], latent
