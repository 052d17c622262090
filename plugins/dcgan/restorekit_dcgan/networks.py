"""The generator and the critic of DCGAN.

Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", ICLR 2016, arXiv:1511.06434. Its rules: strided convolutions instead of pooling,
no fully-connected layers, batch normalisation everywhere but at the generator's output and the
critic's input, ReLU and a final tanh in the generator, LeakyReLU in the critic. The kernels are 4×4,
as in the authors' code, where the paper's drawing has 5×5: 4 is a multiple of the stride, so every
output pixel is reached by equally many weights.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from restorekit import UserError
from restorekit.images import SizeRule
from restorekit.interfaces import Critic, Generator

Side = Literal[28, 32, 64, 128]

SLOPE = 0.2
"""Of the critic's LeakyReLU below zero."""

DEVIATION = 0.02
"""Of the normal distribution that initial weights are drawn from."""


class DcganGenerator(Generator):
    """Makes pictures from latent vectors by strided transposed convolutions.

    Shapes: latent ``(N, latent)`` from a standard normal in, image ``(N, channels, size, size)`` in
    [0, 1] out. Initial weights are drawn from torch's current random state.

    Args:
        size: height and width of the picture, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps before the last layer; they double with every halving of the size. The
            paper's drawing has 128.
        latent: length of the latent vector.
    """

    consumes = "latent"

    def __init__(
        self,
        *,
        size: Side = 64,
        channels: Literal[1, 3] = 3,
        width: Annotated[int, Gt(0)] = 64,
        latent: Annotated[int, Gt(0)] = 100,
    ) -> None:
        super().__init__()
        self.size = SizeRule(fixed=(size, size))
        self.channels = channels
        self.latent = latent
        start, widths = _plan(size, width)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent, widths[-1], start, bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
        ]
        for wide, narrow in pairwise(reversed(widths)):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(width, channels, 4, 2, 1))
        self.layers = nn.Sequential(*layers)
        self.squash = nn.Tanh()
        self.apply(_draw)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Make one picture ``(N, channels, size, size)`` in [0, 1] from each latent vector ``(N, latent)``; `given` is not used."""
        maps: Tensor = self.layers(x[:, :, None, None])
        # bfloat16 has fewer steps between 0.5 and 1 than 8-bit pixels have, so a picture leaves autocast in float32.
        squashed: Tensor = self.squash(maps.to(torch.promote_types(maps.dtype, torch.float32)))
        return (squashed + 1) / 2


class DcganCritic(Critic):
    """Judges pictures by strided convolutions.

    Shapes: image ``(N, channels, H, W)`` in [0, 1] with H and W at least `size` in, one map of logits
    ``(N, 1, h, w)`` out, 1×1 for pictures of `size`. Initial weights are drawn from torch's current
    random state.

    Args:
        size: height and width of the pictures that one logit looks at, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps of the first layer; they double with every halving of the size.
    """

    def __init__(self, *, size: Side = 64, channels: Literal[1, 3] = 3, width: Annotated[int, Gt(0)] = 64) -> None:
        super().__init__()
        self.channels = channels
        self.smallest = size
        start, widths = _plan(size, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(SLOPE, inplace=True)]
        layers.append(nn.Conv2d(widths[-1], 1, start))
        self.layers = nn.Sequential(*layers)
        self.apply(_draw)

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures, of the last of a tuple from coarse to fine; `given` is not used.

        Raises:
            UserError: a picture smaller than the critic's `size`.
        """
        finest = image[-1] if isinstance(image, tuple) else image
        height, width = finest.shape[-2:]
        if min(height, width) < self.smallest:
            raise UserError(
                f"dcgan/critic was built for {self.smallest}×{self.smallest} pixels and got {width}×{height}: "
                f"make the critic's size, the generator's size and data.crop equal"
            )
        return (self.layers(finest * 2 - 1),)


def _plan(size: int, width: int) -> tuple[int, list[int]]:
    """Side of the smallest map, and the number of maps at each resolution below the picture's, finest first."""
    start = 7 if size == 28 else 4
    halvings = (size // start).bit_length() - 1
    return start, [width << i for i in range(halvings)]


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, DEVIATION)
        nn.init.zeros_(module.bias)
