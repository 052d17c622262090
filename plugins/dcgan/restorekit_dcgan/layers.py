"""What the networks of this plugin share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restorekit import UserError
from restorekit.images import finest

SLOPE = 0.2
"""Of the critics' LeakyReLU below zero."""


def wanted_size(image: Tensor | tuple[Tensor, ...], size: int, part: str, *, larger: bool = False) -> Tensor:
    """The finest image, in the range [-1, 1] of tanh.

    Raises:
        UserError: it is not of the size that the critic `part` was built for; where `larger` ones will do, if it is smaller.
    """
    seen = finest(image)
    height, width = seen.shape[-2:]
    if min(height, width) < size or (not larger and (height, width) != (size, size)):
        raise UserError(
            f"{part} was built for {size}×{size} pixels and got {width}×{height}: "
            f"set critic.size={height}, or generator.size={size} and data.crop={size}"
        )
    return seen * 2 - 1


def one_hot(given: Tensor | None, classes: int, part: str) -> Tensor:
    """Class labels ``(N,)`` as ``(N, classes)``.

    Raises:
        UserError: there are none, or one that is no class.
    """
    if given is None:
        raise UserError(f"{part} was built with classes={classes} and needs a class label for each picture: 0 to {classes - 1}")
    if given.ndim != 1 or given.is_floating_point() or int(given.min()) < 0 or int(given.max()) >= classes:
        raise UserError(f"{part}: class labels are whole numbers (N,) from 0 to {classes - 1}")
    return F.one_hot(given.long(), classes).float()


class MinibatchDeviation(nn.Module):
    """Appends one map that holds how much the images of a batch differ: 0 where the generator has collapsed.

    The standard deviation over the batch of every feature at every place, averaged to one number. In evaluation mode it is
    the running mean of training, so that an image is judged by itself.
    Karras et al., ICLR 2018, arXiv:1710.10196, section 3.

    Shapes: ``(N, C, h, w)`` to ``(N, C + 1, h, w)``.
    """

    usual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """The maps and one more."""
        if self.training:
            # The root's derivative is infinite at 0, where a batch of one is.
            spread = ((maps.float() - maps.float().mean(0)).square().mean(0) + 1e-8).sqrt().mean()
            with torch.no_grad():
                self.usual.lerp_(spread, 0.01)
        else:
            spread = self.usual
        return torch.cat([maps, spread.to(maps.dtype).expand(len(maps), 1, *maps.shape[-2:])], 1)


class PixelNorm(nn.Module):
    """Divides the features at each place by their root mean square (Karras et al. 2018, section 4.2)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape, features in dimension 1."""
        return maps * torch.rsqrt(maps.float().square().mean(1, keepdim=True) + 1e-8).to(maps.dtype)


class EqualConv(nn.Module):
    """A convolution whose weights are of unit variance and scaled while it runs, so that all learn at the same rate.

    Karras et al. 2018, section 4.1. The sides stay as they are, unless `padding` says otherwise.

    Args:
        into: channels in.
        out: channels out.
        side: of the kernel.
        gain: He's is √2, for layers that a rectifier follows.
        padding: half the side where None.
    """

    def __init__(self, into: int, out: int, side: int, *, gain: float = math.sqrt(2), padding: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, side, side))
        self.bias = nn.Parameter(torch.zeros(out))
        self.scale = gain / math.sqrt(into * side**2)
        self.padding = side // 2 if padding is None else padding

    def forward(self, maps: Tensor) -> Tensor:
        """``(N, into, h, w)`` to ``(N, out, h, w)``."""
        return F.conv2d(maps, self.weight * self.scale, self.bias, padding=self.padding)


class EqualLinear(nn.Module):
    """A fully-connected layer likewise.

    Args:
        into: features in.
        out: features out.
        gain: as of `EqualConv`.
        rate: factor on its learning rate.
        start: of the biases.
    """

    def __init__(self, into: int, out: int, *, gain: float = math.sqrt(2), rate: float = 1.0, start: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into) / rate)
        self.bias = nn.Parameter(torch.full((out,), start / rate))
        self.scale, self.rate = gain / math.sqrt(into) * rate, rate

    def forward(self, features: Tensor) -> Tensor:
        """``(N, into)`` to ``(N, out)``."""
        return F.linear(features, self.weight * self.scale, self.bias * self.rate)


class Pair(nn.Module):
    """Two 3×3 convolutions with LeakyReLU.

    Args:
        into: channels in.
        between: channels after the first.
        out: channels after the second.
        norm: pixel norm after each, as in a generator.
    """

    def __init__(self, into: int, between: int, out: int, *, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in ((into, between), (between, out)):
            layers += [EqualConv(narrow, wide, 3), nn.LeakyReLU(SLOPE), *([PixelNorm()] if norm else [])]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Same height and width."""
        made: Tensor = self.layers(maps)
        return made


def verdict(maps: int) -> nn.Sequential:
    """From maps of 4×4 to one logit."""
    return nn.Sequential(
        MinibatchDeviation(),
        EqualConv(maps + 1, maps, 3),
        nn.LeakyReLU(SLOPE),
        EqualConv(maps, maps, 4, padding=0),
        nn.LeakyReLU(SLOPE),
        EqualConv(maps, 1, 1, gain=1.0),
    )


def levels(size: int) -> int:
    """How often 4 pixels have to be doubled to give `size`."""
    return (size // 4).bit_length() - 1


def maps_at(level: int, size: int, width: int) -> int:
    """Feature maps at a resolution of ``4 << level``: `width` at the finest, twice as many at each coarser, at most 8 times."""
    return width * min(8, 1 << (levels(size) - level))


def as_image(squashed: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1], in float32: bfloat16 has fewer steps between 0.5 and 1 than 8-bit pixels have."""
    return (squashed.to(torch.promote_types(squashed.dtype, torch.float32)) + 1) / 2


def doubled(maps: Tensor) -> Tensor:
    """Twice the height and width, each pixel repeated."""
    return F.interpolate(maps, scale_factor=2, mode="nearest")
