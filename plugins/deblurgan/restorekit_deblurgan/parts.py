"""What several of these networks are made of."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["instance", "batch", "none"]
Padding = Literal["reflect", "replicate", "zero"]
Skip = Literal["add", "average", "none"]
Upsample = Literal["resize", "shuffle", "transposed"]


def norm_layer(kind: Norm, width: int) -> nn.Module:
    """Normalisation of `width` channels: over each image alone, over the batch, or none."""
    norms: dict[str, type[nn.Module]] = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": nn.Identity}
    return norms[kind](width)


def padded(kind: Padding, amount: int) -> nn.Module:
    """A frame of so many pixels on each side."""
    pads: dict[str, type[nn.Module]] = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": nn.ZeroPad2d}
    return pads[kind](amount)


def joined(signed: Tensor, made: Tensor, skip: Skip) -> Tensor:
    """Input and output of a network that works in [-1, 1] as one image in [0, 1].

    ``add`` clamps the sum, ``average`` halves it, ``none`` takes the output alone.
    """
    if skip == "add":
        made = torch.clamp(signed + made, -1, 1)
    elif skip == "average":
        made = (signed + made) / 2
    return (made + 1) / 2


def upsampling(here: int, there: int, how: Upsample, *, padding: Padding = "reflect", bias: bool = True) -> nn.Module:
    """Twice the size, with `there` channels of `here`.

    ``transposed`` is a strided convolution backwards, whose weights overlap unevenly: checkerboards. ``resize``
    interpolates linearly before it convolves. ``shuffle`` convolves to four times the channels and folds them out,
    starting as if each value had been repeated (ICNR: Aitken et al., 2017, arXiv:1707.02937), and blurs by [1, 2, 1] / 4
    (Sugawara et al., 2018), which removes whatever repeats with two pixels, also when training has made the four differ.
    """
    if how == "transposed":
        return nn.ConvTranspose2d(here, there, 3, stride=2, padding=1, output_padding=1, bias=bias)
    if how == "resize":
        interpolated = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        return nn.Sequential(interpolated, padded(padding, 1), nn.Conv2d(here, there, 3, bias=bias))
    return nn.Sequential(padded(padding, 1), nn.Conv2d(here, 4 * there, 3, bias=bias), nn.PixelShuffle(2), Blur())


class Blur(nn.Module):
    """[1, 2, 1] / 4 in both directions, with the border repeated."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        x = (x[..., 1:-1] + (x[..., :-2] + x[..., 2:]) / 2) / 2
        return (x[..., 1:-1, :] + (x[..., :-2, :] + x[..., 2:, :]) / 2) / 2


def initialise(network: nn.Module) -> None:
    """Draw weights from N(0, 0.02), as pix2pix and DeblurGAN do; convolutions before a pixel shuffle by ICNR."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for convolution, shuffle in zip(module, list(module)[1:], strict=False):
                if isinstance(convolution, nn.Conv2d) and isinstance(shuffle, nn.PixelShuffle):
                    _repeat(convolution, shuffle.upscale_factor**2)


def _repeat(convolution: nn.Conv2d, times: int) -> None:
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight[::times].repeat_interleave(times, 0))
