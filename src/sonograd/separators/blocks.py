"""Blocks of the spectrogram U-Nets: self-normalizing, without any statistics over a batch.

Every convolution starts from LeCun's normal initialization and is followed by SELU, whose fixed
point keeps activations near zero mean and unit variance through depth (Klambauer et al.,
"Self-Normalizing Neural Networks", 2017); dropout is the alpha dropout of that paper, which keeps
both. Skips are concatenated, since a sum would double the variance, and sums within a residual
block are scaled back. Resolution is halved by strides, since a maximum would shift the mean. No
layer looks at two items of a batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    "DownBlock",
    "PerBinAffine",
    "ResidualBlock",
    "UNet",
    "UpBlock",
    "selu_conv",
    "selu_linear",
]


def lecun_(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, fan_in: int) -> None:
    """Draw the weights of ``layer`` with variance ``1 / fan_in`` and clear its bias, in place."""
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def selu_conv(inputs: int, outputs: int, kernel_size: int) -> nn.Sequential:
    """Return a convolution of equal output size, followed by SELU."""
    conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2)
    lecun_(conv, inputs * kernel_size**2)
    return nn.Sequential(conv, nn.SELU(inplace=True))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with LeCun's normal initialization."""
    layer = nn.Linear(inputs, outputs)
    lecun_(layer, inputs)
    return layer


def selu_linear(inputs: int, outputs: int) -> nn.Sequential:
    """Return a linear layer followed by SELU."""
    return nn.Sequential(linear(inputs, outputs), nn.SELU(inplace=True))


class Level(NamedTuple):
    """How a level of the U-Net halves the resolution: sizes are those of bins and of frames."""

    widening: int  #: maps, in widths of the first level
    kernel: tuple[int, int]
    stride: tuple[int, int]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with SELU, added to their input at unit variance."""

    def __init__(self, maps: int) -> None:
        """Set the number of maps."""
        super().__init__()
        self.block = nn.Sequential(selu_conv(maps, maps, 3), selu_conv(maps, maps, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, maps, rows, steps)`` to the same shape."""
        result: Tensor = (x + self.block(x)) * 0.5**0.5
        return result


class DownBlock(nn.Sequential):
    """A convolution that strides, with SELU; sizes that it cannot divide are rounded up."""

    def __init__(self, inputs: int, outputs: int, level: Level) -> None:
        """Set the number of maps before and after."""
        padding = level.kernel[0] // 2, level.kernel[1] // 2
        conv = nn.Conv2d(inputs, outputs, level.kernel, stride=level.stride, padding=padding)
        lecun_(conv, inputs * level.kernel[0] * level.kernel[1])
        super().__init__(conv, nn.SELU(inplace=True))


class UpBlock(nn.Module):
    """A transposed convolution with SELU that undoes a level, joined with the skip of that size."""

    def __init__(self, inputs: int, outputs: int, level: Level, dropout_p: float) -> None:
        """Set the number of maps before and after, and the dropout of what is joined."""
        super().__init__()
        # A stride that divides its kernel leaves no checkerboard.
        kernel = 4, 4 if level.stride[1] == 2 else 3
        self.conv = nn.ConvTranspose2d(inputs, outputs, kernel, stride=level.stride, padding=1)
        lecun_(self.conv, inputs * (kernel[0] // level.stride[0]) * (kernel[1] // level.stride[1]))
        self.activation = nn.SELU(inplace=True)
        self.dropout = nn.FeatureAlphaDropout(dropout_p)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``(batch, inputs, bins / 2, frames / 2)`` and its skip to what the two make up."""
        upsampled = self.activation(self.conv(x))[..., : skip.shape[-2], : skip.shape[-1]]
        joined: Tensor = self.dropout(torch.cat([upsampled, skip], dim=1))
        return joined


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
    """Six convolutions that stride, a bottleneck, and as many back, with a skip on each level.

    This is the layout of Jansson et al., "Singing voice separation with deep U-Net convolutional
    networks", 2017: no convolution runs at full resolution, and nearly all weights lie where a
    spectrogram has few cells, so that they cost little. The last two levels halve bins only, since
    16 frames are a long step for a recurrence. Kernels are largest where they cost little, at the
    top, with few maps, and at the bottom. The logits come from maps of half the resolution, four
    of which make one of the full (Shi et al., "Real-time single image and video super-resolution",
    2016).

    Any size is accepted; a level has half of that above it, rounded up.
    """

    levels: tuple[Level, ...] = (
        Level(1, (5, 5), (2, 2)),
        Level(2, (3, 3), (2, 2)),
        Level(4, (3, 3), (2, 2)),
        Level(8, (3, 3), (2, 2)),
        Level(16, (5, 3), (2, 1)),
        Level(16, (5, 5), (2, 1)),
    )
    #: Bins and frames that become one row and one step.
    bin_stride: int = 64
    frame_stride: int = 16

    def __init__(
        self, inputs: int, outputs: int, width: int, dropout_p: float, bottleneck: nn.Module
    ) -> None:
        """Build the levels.

        Args:
            inputs: Maps of the features.
            outputs: Maps of the logits.
            width: Maps of the first level.
            dropout_p: Dropout probability on each level of the decoder.
            bottleneck: From ``16 * width`` maps to as many; returns them with its latent.
        """
        super().__init__()
        widths = [width * level.widening for level in self.levels]
        self.down = nn.ModuleList(
            DownBlock(before, after, level)
            for before, after, level in zip([inputs, *widths], widths, self.levels, strict=False)
        )
        self.bottleneck = bottleneck
        joined = [widths[-1], *(2 * maps for maps in widths[-2:0:-1])]
        self.up = nn.ModuleList(
            UpBlock(before, after, level, dropout_p)
            for before, after, level in zip(
                joined, widths[-2::-1], reversed(self.levels), strict=False
            )
        )
        self.head = nn.Conv2d(2 * width, 4 * outputs, 3, padding=1)
        lecun_(self.head, 9 * 2 * width)
        with torch.no_grad():  # the four maps of an output start equal, so that it starts smooth
            self.head.weight.copy_(self.head.weight[:outputs].repeat_interleave(4, dim=0))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Map features to logits.

        Args:
            features: ``(batch, inputs, bins, frames)``, any number of frames.

        Returns:
            Logits ``(batch, outputs, bins, frames)`` and the latent of the bottleneck.
        """
        bins, frames = features.shape[-2:]
        x = features.contiguous(memory_format=torch.channels_last)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x, latent = self.bottleneck(skips.pop())
        for up in self.up:
            x = up(x, skips.pop())
        logits = nn.functional.pixel_shuffle(self.head(x), 2)
        return logits[..., :bins, :frames], latent
