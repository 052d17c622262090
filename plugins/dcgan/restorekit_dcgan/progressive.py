"""Networks that grow while they are trained, and the pair that plays at every resolution at once.

Karras, Aila, Laine & Lehtinen, "Progressive growing of GANs for improved quality, stability, and variation", ICLR 2018,
arXiv:1710.10196. The made pictures of a resolution that is fading in are a mixture with the coarser one; the real ones are not
mixed, but the critic mixes what it makes of both. Karnewar & Wang, "MSG-GAN: multi-scale gradients for generative adversarial
networks", CVPR 2020, arXiv:1903.06048, shows every resolution of the generator to the matching level of the critic.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

from restorekit.images import SizeRule, finest
from restorekit.interfaces import Critic, Generator
from restorekit_dcgan.layers import (
    SLOPE,
    EqualConv,
    EqualLinear,
    Pair,
    PixelNorm,
    as_image,
    doubled,
    levels,
    maps_at,
    verdict,
    wanted_size,
)

Side = Literal[16, 32, 64, 128]
Width = Annotated[int, Gt(0)]


class Growth(nn.Module):
    """How far a network has grown: part of its state.

    Each resolution is held for `every` steps, and the next one faded in over as many.

    Args:
        top: number of the finest level; level 0 has 4×4 pixels.
        every: steps; 0 does not grow.
    """

    done: Tensor

    def __init__(self, top: int, every: int) -> None:
        super().__init__()
        self.top, self.every = top, every
        # A network that was never told to grow is full-grown.
        self.register_buffer("done", torch.tensor(2 * top * every, dtype=torch.long))

    def set(self, step: int) -> None:
        """The state after so many steps of training."""
        self.done.fill_(min(step, 2 * self.top * self.every))

    @property
    def now(self) -> tuple[int, float]:
        """The finest level that takes part, and its share: below 1 while it is fading in."""
        done = int(self.done)
        if done >= 2 * self.top * self.every:
            return self.top, 1.0
        level, since = divmod(done + self.every, 2 * self.every)
        return level, 1.0 if level == 0 else min(1.0, (since + 1) / self.every)


class _Base(nn.Module):
    """From a latent vector to maps of 4×4: pixel norm, a fully-connected layer, a convolution."""

    def __init__(self, latent: int, maps: int) -> None:
        super().__init__()
        self.norm = PixelNorm()
        self.spread = EqualLinear(latent, maps * 16, gain=math.sqrt(2) / 4)
        self.finish = nn.Sequential(nn.LeakyReLU(SLOPE), PixelNorm(), EqualConv(maps, maps, 3), nn.LeakyReLU(SLOPE), PixelNorm())

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.finish(self.spread(self.norm(x)).unflatten(1, (-1, 4, 4)))
        return made


class _Pyramid(Generator):
    """What the two generators share: blocks that double the resolution, and a layer that makes a picture at each."""

    consumes = "latent"

    def __init__(self, size: int, channels: int, width: int, latent: int) -> None:
        super().__init__()
        self.size = SizeRule(fixed=(size, size))
        self.channels, self.latent, self.top = channels, latent, levels(size)
        maps = [maps_at(level, size, width) for level in range(self.top + 1)]
        self.base = _Base(latent, maps[0])
        self.blocks = nn.ModuleList(Pair(maps[i - 1], maps[i], maps[i], norm=True) for i in range(1, self.top + 1))
        self.pictures = nn.ModuleList(EqualConv(m, channels, 1, gain=1.0) for m in maps)


class ProgressiveGenerator(_Pyramid):
    """Makes pictures that begin with 4×4 pixels and grow.

    Shapes: latent ``(N, latent)`` from a standard normal in, image ``(N, channels, size, size)`` about [0, 1] out; smaller
    ones while it is trained and has not yet grown, which in evaluation are enlarged.

    Args:
        size: height and width of the picture when it has grown, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps at the finest resolution; each coarser one has twice as many, up to eight times.
        latent: length of the latent vector.
        grow_every: steps for which each resolution is held, and as many over which the next one fades in; the critic's
            must be the same. 0 does not grow.
    """

    def __init__(
        self,
        *,
        size: Side = 64,
        channels: Literal[1, 3] = 3,
        width: Width = 32,
        latent: Annotated[int, Gt(0)] = 128,
        grow_every: Annotated[int, Ge(0)] = 500,
    ) -> None:
        super().__init__(size, channels, width, latent)
        self.growth = Growth(self.top, grow_every)

    def grow(self, step: int) -> None:
        """Take the resolution of this step."""
        self.growth.set(step)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """One picture from each latent vector; `given` is not used."""
        level, share = self.growth.now
        maps = before = self.base(x)
        for block in self.blocks[:level]:
            before, maps = maps, block(doubled(maps))
        made: Tensor = self.pictures[level](maps)
        if share < 1:
            made = share * made + (1 - share) * doubled(self.pictures[level - 1](before))
        if not self.training and level < self.top:
            made = F.interpolate(made, self.size.fixed, mode="nearest")
        return as_image(made)


class ProgressiveCritic(Critic):
    """Judges pictures at the resolution that it has grown to, and how much those of a batch differ.

    Shapes: image ``(N, channels, H, W)`` in [0, 1] of at most `size` pixels a side in, logits ``(N, 1, 1, 1)`` out. Pictures
    larger than it has grown are reduced.

    Args:
        size: height and width of the pictures when it has grown, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps at the finest resolution; each coarser one has twice as many, up to eight times.
        grow_every: as of the generator.
    """

    def __init__(
        self,
        *,
        size: Side = 64,
        channels: Literal[1, 3] = 3,
        width: Width = 32,
        grow_every: Annotated[int, Ge(0)] = 500,
    ) -> None:
        super().__init__()
        self.channels, self.finest, self.top = channels, size, levels(size)
        maps = [maps_at(level, size, width) for level in range(self.top + 1)]
        self.entries = nn.ModuleList(nn.Sequential(EqualConv(channels, m, 1), nn.LeakyReLU(SLOPE)) for m in maps)
        self.blocks = nn.ModuleList(Pair(maps[i], maps[i], maps[i - 1], norm=False) for i in range(1, self.top + 1))
        self.verdict = verdict(maps[0])
        self.growth = Growth(self.top, grow_every)

    def grow(self, step: int) -> None:
        """Take the resolution of this step."""
        self.growth.set(step)

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures; `given` is not used.

        Raises:
            UserError: pictures that are smaller than it has grown.
        """
        level, share = self.growth.now
        judged = finest(image)
        if judged.shape[-2:] == (self.finest, self.finest) and level < self.top:
            judged = F.interpolate(judged, (4 << level, 4 << level), mode="area")
        seen = wanted_size(judged, 4 << level, "dcgan/progressive")
        maps = self.entries[level](seen)
        for i in range(level, 0, -1):
            maps = F.avg_pool2d(self.blocks[i - 1](maps), 2)
            if i == level and share < 1:
                maps = share * maps + (1 - share) * self.entries[level - 1](F.avg_pool2d(seen, 2))
        return (self.verdict(maps),)


class MsgGenerator(_Pyramid):
    """Makes a picture at every resolution from 4×4 to `size`; while it is trained, all of them are judged.

    Shapes: latent ``(N, latent)`` from a standard normal in; in training a tuple of images from 4×4 to
    ``(N, channels, size, size)``, in evaluation the finest, about [0, 1].

    Args:
        size: height and width of the finest picture, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps at the finest resolution; each coarser one has twice as many, up to eight times.
        latent: length of the latent vector.
    """

    def __init__(self, *, size: Side = 64, channels: Literal[1, 3] = 3, width: Width = 32, latent: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__(size, channels, width, latent)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Pictures from each latent vector; `given` is not used."""
        maps = [self.base(x)]
        for block in self.blocks:
            maps.append(block(doubled(maps[-1])))
        if not self.training:
            return as_image(self.pictures[-1](maps[-1]))
        return tuple(as_image(picture(m)) for picture, m in zip(self.pictures, maps, strict=True))


class MsgCritic(Critic):
    """Judges the pictures of all resolutions together: each enters at its own level.

    The paper measures how much the pictures of a batch differ at every level; this one at the last.

    Shapes: a tuple of images from 4×4 to ``(N, channels, size, size)`` in [0, 1] in, or the finest alone, of which the others
    are then made; logits ``(N, 1, 1, 1)`` out.

    Args:
        size: height and width of the finest picture, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps at the finest resolution; each coarser one has twice as many, up to eight times.
    """

    def __init__(self, *, size: Side = 64, channels: Literal[1, 3] = 3, width: Width = 32) -> None:
        super().__init__()
        self.channels, self.finest, self.top = channels, size, levels(size)
        maps = [maps_at(level, size, width) for level in range(self.top + 1)]
        self.entry = nn.Sequential(EqualConv(channels, maps[-1], 1), nn.LeakyReLU(SLOPE))
        extra = [0 if i == self.top else channels for i in range(self.top + 1)]
        self.blocks = nn.ModuleList(Pair(maps[i] + extra[i], maps[i], maps[i - 1], norm=False) for i in range(1, self.top + 1))
        self.verdict = verdict(maps[0] + extra[0])

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures; `given` is not used.

        Raises:
            UserError: pictures of another size.
        """
        finest = wanted_size(image, self.finest, "dcgan/msg")
        if isinstance(image, tuple) and len(image) == self.top + 1:
            coarser = [each * 2 - 1 for each in image[:-1]]
        else:
            coarser = [F.interpolate(finest, (4 << level, 4 << level), mode="area") for level in range(self.top)]
        maps = self.entry(finest)
        for i in range(self.top, 0, -1):
            maps = F.avg_pool2d(self.blocks[i - 1](maps), 2)
            maps = torch.cat([maps, coarser[i - 1].to(maps.dtype)], 1)
        return (self.verdict(maps),)
