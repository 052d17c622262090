"""The style-based generator, in small.

Karras, Laine & Aila, "A style-based generator architecture for generative adversarial networks", CVPR 2019,
arXiv:1812.04948: a mapping network, noise inputs, style mixing, truncation. The styles scale the weights of convolutions
(modulated convolution) instead of feature maps, and the pictures of all resolutions are added up, as in its sequel (CVPR 2020,
arXiv:1912.04958).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Critic, Generator
from restorekit_dcgan.layers import SLOPE, EqualConv, EqualLinear, Pair, PixelNorm, as_image, doubled, levels, maps_at, verdict, wanted_size
from restorekit_dcgan.progressive import Side, Width

USUAL = 0.005
"""Share with which each batch of styles enters their mean."""


class Modulated(nn.Module):
    """A 3×3 convolution whose input channels are scaled by a style, its result brought back to unit variance, and noise.

    Args:
        into: channels in.
        out: channels out.
        style: length of the style.
        side: height and width of the maps.
    """

    noise: Tensor

    def __init__(self, into: int, out: int, style: int, side: int) -> None:
        super().__init__()
        self.convolution = EqualConv(into, out, 3)
        self.scales = EqualLinear(style, into, gain=1.0, start=1.0)
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(side, side))
        self.active = nn.LeakyReLU(SLOPE)

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """``(N, into, h, w)`` and ``(N, style)`` to ``(N, out, h, w)``; the noise is drawn while training, else always the same."""
        scales = self.scales(style)
        weight = self.convolution.weight * self.convolution.scale
        # Scaling the input instead of each image's own weights is the same and needs one convolution for the batch.
        spread = torch.rsqrt((scales.float().square() @ weight.float().square().sum((2, 3)).T) + 1e-8)
        made = torch.nn.functional.conv2d(maps * scales[:, :, None, None].to(maps.dtype), weight, padding=1)
        made = made * spread[:, :, None, None].to(made.dtype)
        noise = torch.randn(len(maps), 1, *maps.shape[-2:], device=maps.device) if self.training else self.noise
        bias = self.convolution.bias[:, None, None]
        active: Tensor = self.active(made + (self.strength * noise).to(made.dtype) + bias)
        return active * 2**0.5


class StyleGenerator(Generator):
    """Makes pictures from styles, which a mapping network makes of latent vectors.

    Shapes: latent ``(N, latent)`` from a standard normal in, image ``(N, channels, size, size)`` about [0, 1] out. Its `code`
    is the style ``(N, latent)`` of the space W.

    Args:
        size: height and width of the picture, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps at the finest resolution; each coarser one has twice as many, up to eight times.
        latent: length of the latent vector and of the style.
        mapping: layers of the mapping network.
        mixing: share of the pictures that, while training, have a second style from a random layer on.
    """

    consumes = "latent"
    usual: Tensor

    def __init__(
        self,
        *,
        size: Side = 64,
        channels: Literal[1, 3] = 3,
        width: Width = 32,
        latent: Annotated[int, Gt(0)] = 128,
        mapping: Annotated[int, Ge(1)] = 4,
        mixing: Annotated[float, Ge(0), Le(1)] = 0.9,
    ) -> None:
        super().__init__()
        self.size = SizeRule(fixed=(size, size))
        self.channels, self.latent, self.mixing = channels, latent, mixing
        top = levels(size)
        maps = [maps_at(level, size, width) for level in range(top + 1)]
        steps: list[nn.Module] = [PixelNorm()]
        for _ in range(mapping):
            steps += [EqualLinear(latent, latent, rate=0.01), nn.LeakyReLU(SLOPE)]
        self.mapping = nn.Sequential(*steps)
        self.register_buffer("usual", torch.zeros(latent))
        self.start = nn.Parameter(torch.randn(maps[0], 4, 4))
        pairs = [(maps[max(0, level - 1)], maps[level], 4 << level) for level in range(top + 1)]
        self.first = nn.ModuleList(Modulated(into, out, latent, side) for into, out, side in pairs)
        self.second = nn.ModuleList(Modulated(out, out, latent, side) for _, out, side in pairs)
        self.pictures = nn.ModuleList(EqualConv(m, channels, 1, gain=1.0) for m in maps)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """One picture from each latent vector; `given` is not used."""
        styles = self.code(x)
        if not self.training:
            return self.decode(styles)
        with torch.no_grad():
            self.usual.lerp_(styles.float().mean(0), USUAL)
        layers = 2 * len(self.first)
        each = styles[:, None].expand(-1, layers, -1)
        if self.mixing:
            others = self.code(torch.randn_like(x))
            from_layer = torch.randint(1, layers, (len(x), 1), device=x.device)
            mixed = torch.rand(len(x), 1, device=x.device) < self.mixing
            second = (torch.arange(layers, device=x.device) >= from_layer) & mixed
            each = torch.where(second[:, :, None], others[:, None], each)
        return self.decode(each)

    def code(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Styles ``(N, latent)``."""
        styles: Tensor = self.mapping(x)
        return styles

    def centre(self) -> Tensor:
        """The running mean of the styles."""
        return self.usual

    def decode(self, code: Tensor, given: Tensor | None = None) -> Tensor:
        """Pictures of styles ``(N, latent)``, or of one style for each layer ``(N, layers, latent)``."""
        layers = 2 * len(self.first)
        styles = code[:, None].expand(-1, layers, -1) if code.ndim == 2 else code
        maps = self.start.expand(len(code), -1, -1, -1)
        picture: Tensor | None = None
        for level, (first, second, paint) in enumerate(zip(self.first, self.second, self.pictures, strict=True)):
            maps = second(first(maps if level == 0 else doubled(maps), styles[:, 2 * level]), styles[:, 2 * level + 1])
            painted = paint(maps)
            picture = painted if picture is None else doubled(picture) + painted
        assert picture is not None
        return as_image(picture)


class StyleCritic(Critic):
    """The critic of the style-based generator: that of progressive growing when it has grown.

    Shapes: image ``(N, channels, size, size)`` in [0, 1] in, logits ``(N, 1, 1, 1)`` out.

    Args:
        size: height and width of the pictures, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps at the finest resolution; each coarser one has twice as many, up to eight times.
    """

    def __init__(self, *, size: Side = 64, channels: Literal[1, 3] = 3, width: Width = 32) -> None:
        super().__init__()
        self.channels, self.finest = channels, size
        maps = [maps_at(level, size, width) for level in range(levels(size) + 1)]
        layers: list[nn.Module] = [EqualConv(channels, maps[-1], 1), nn.LeakyReLU(SLOPE)]
        for coarse, fine in reversed(list(pairwise(maps))):
            layers += [Pair(fine, fine, coarse, norm=False), nn.AvgPool2d(2)]
        self.layers = nn.Sequential(*layers, verdict(maps[0]))

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures, of the last of a tuple; `given` is not used.

        Raises:
            UserError: pictures of another size.
        """
        return (self.layers(wanted_size(image, self.finest, "dcgan/style-critic")),)
