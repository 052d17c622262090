"""A small U-shaped network of gated blocks that restores a photograph in seconds."""

from __future__ import annotations

import functools
import itertools
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Estimator, Generator
from restorekit_deblurgan.deconvolution import Deconvolution
from restorekit_deblurgan.refinement import Refinement


class Compact(Generator):
    """Half-resolution U-shaped network of gated convolution blocks, on its own or around a blind deconvolution.

    The image is folded to half resolution (pixel unshuffle), which makes everything behind it four
    times cheaper; blocks follow NAFNet (Chen et al., ECCV 2022, arXiv:2204.04676) with layer norm,
    simple gates and channel attention, but with full 3×3 convolutions, which are faster than
    depthwise ones on a CPU at the same quality. Output: the input plus a correction, which is zero
    in an untrained network.

    With `psf` it removes camera shake from little training: a shaken camera blurs a whole photograph with
    one point-spread function (PSF), so that is estimated first, from all of the image, and undone by Wiener
    filters of several strengths. The network then gets the blurred image, the deconvolved ones, and what
    the first of them leaves unexplained when it is blurred again, which shows where the estimate is wrong.
    It says for each pixel how far to follow the deconvolved image, and corrects that; untrained it averages
    image and deconvolved image. After Schuler et al., "Learning to deblur", TPAMI 2016, arXiv:1406.7444.

    Each further stage blurs the result so far with the PSF, deconvolves what is left of the blurred image, and
    has a network of its own that corrects the result by that: a clean picture is now the prior, where the first
    deconvolution knew only that pictures are smooth. With `refine` it first corrects the PSF by what the result
    so far says about it (`Refinement`). After Schmidt & Roth, "Shrinkage fields for effective image
    restoration", CVPR 2014, and Dong et al., "Deep Wiener deconvolution", NeurIPS 2020, arXiv:2103.09962.

    Args:
        psf: estimates the PSF; null leaves deconvolution out.
        strengths: regularisation of each Wiener filter, on the squared Laplacian plus 1 %; the first one's
            image is the one that the result is built upon.
        stages: rounds of deconvolution and repair, each with a network of the size that the options below give;
            more than one only with `psf`.
        refine: correct the PSF before each stage after the first.
        width: channels at half resolution; they double at each level below.
        blocks: blocks of each level, on the way down and again on the way up.
        middle: blocks at the lowest level.
        attention: weigh channels by their mean over the whole image. It helps to tell which blur the
            image has, and a rippled image from a good one; without it, and without `psf`, the network is local.
        channels: of the image.

    Shapes:
        ``(N, C, H, W)`` to ``(N, C, H, W)``; H and W multiples of 2 · 2^levels.
    """

    def __init__(
        self,
        *,
        psf: Estimator | None = None,
        strengths: tuple[Annotated[float, Gt(0)], ...] = (0.01, 0.05),
        stages: Annotated[int, Ge(1)] = 1,
        refine: bool = False,
        width: Annotated[int, Gt(0)] = 32,
        blocks: tuple[Annotated[int, Ge(0)], ...] = (1, 1),
        middle: Annotated[int, Ge(0)] = 4,
        attention: bool = True,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks: give at least one level, such as [2, 2]")
        if not strengths:
            raise ValueError("strengths: give at least one, such as [0.01]")
        if psf is None and stages > 1:
            raise ValueError(f"stages: {stages} needs psf, since each stage after the first deconvolves; set psf or leave stages at 1")
        if refine and stages == 1:
            raise ValueError("refine: the PSF is corrected before each stage after the first, and there is none; set stages to 2 or more")
        multiple = 2 * 2 ** len(blocks)
        self.size = SizeRule(minimum=multiple if psf is None else max(32, multiple), multiple_of=multiple)
        self.channels = channels
        self.local = not attention and psf is None
        self.exportable = psf is None
        self.psf, self.strengths = psf, strengths
        network = functools.partial(UNet, width=width, blocks=blocks, middle=middle, attention=attention)
        if psf is None:
            networks = [network(channels, channels)]
        else:
            networks = [network((2 + len(strengths)) * channels, channels + 1)]
            networks += [network((3 + len(strengths)) * channels, channels) for _ in range(stages - 1)]
        self.networks = nn.ModuleList(networks)
        self.portable = tuple(f"networks.{stage}" for stage in range(stages))
        self.refinements = nn.ModuleList(Refinement() for _ in range(stages - 1 if refine else 0))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; the result may overshoot [0, 1]."""
        first, *others = self.networks
        if self.psf is None:
            corrected: Tensor = x + first(x)
            return corrected
        # Fourier transforms need float32, whatever the networks around them run in.
        exact = functools.partial(torch.autocast, x.device.type, enabled=False)
        with torch.no_grad(), exact():
            blurred = x.float()
            psf = self.psf(x)
            deconvolution = Deconvolution(psf, *x.shape[-2:])
            sharper = deconvolution.sharpen(blurred, self.strengths)
            unexplained = blurred - deconvolution.blur(sharper[0])
        made = first(torch.cat((x, *sharper, unexplained), dim=1))
        restored: Tensor = x + torch.sigmoid(made[:, -1:]) * (sharper[0] - x) + made[:, :-1]
        for refinement, network in itertools.zip_longest(self.refinements, others):
            if refinement is not None:
                psf = refinement(psf, restored, blurred)
                deconvolution = Deconvolution(psf, *x.shape[-2:])
            with exact():
                restored = restored.float()
                unexplained = blurred - deconvolution.blur(restored)
                sharper = [restored + more for more in deconvolution.sharpen(unexplained, self.strengths)]
            restored = restored + network(torch.cat((x, restored, *sharper, unexplained), dim=1))
        return restored


class UNet(nn.Module):
    """U-shaped network at half resolution whose output is zero before training.

    Args:
        given: channels that come in.
        made: channels that go out.
        width: as in `Compact`, and so the others.
    """

    def __init__(self, given: int, made: int, *, width: int, blocks: tuple[int, ...], middle: int, attention: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * given, width, 3, padding=1)
        self.down = nn.ModuleList()
        self.encoder = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level, count in enumerate(blocks):
            here = width * 2**level
            self.encoder.append(nn.Sequential(*(Block(width=here, attention=attention) for _ in range(count))))
            self.down.append(nn.Conv2d(here, 2 * here, 2, stride=2))
            # Widened by a 1×1 convolution and folded out: no checkerboards, since neighbours share the same inputs.
            self.up.append(nn.Sequential(nn.Conv2d(2 * here, 4 * here, 1, bias=False), nn.PixelShuffle(2)))
            self.decoder.append(nn.Sequential(*(Block(width=here, attention=attention) for _ in range(count))))
        lowest = width * 2 ** len(blocks)
        self.middle = nn.Sequential(*(Block(width=lowest, attention=attention) for _ in range(middle)))
        self.head = nn.Conv2d(width, 4 * made, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Tensor) -> Tensor:
        """From ``(N, given, H, W)`` to ``(N, made, H, W)``."""
        folded = F.pixel_unshuffle(maps, 2)
        if not torch.compiler.is_compiling():  # which chooses layouts itself, and fails at this one with free sizes
            # The norm wants the channels of a pixel side by side; convolutions are as fast so, or faster.
            folded = folded.contiguous(memory_format=torch.channels_last)
        features = self.stem(folded)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            features = blocks(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for blocks, up, skip in zip(reversed(self.decoder), reversed(self.up), reversed(skips), strict=True):
            features = blocks(up(features) + skip)
        return F.pixel_shuffle(self.head(features), 2)


class Block(nn.Module):
    """Two gated residual branches: spatial, then pointwise; both start as the identity."""

    def __init__(self, *, width: int, attention: bool) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.spatial = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.attention = nn.Conv2d(width, width, 1) if attention else None
        self.merge = nn.Conv2d(width, width, 1)
        self.norm2 = ChannelNorm(width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(width, width, 1)
        self.scale1 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.scale2 = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        inner = gate(self.spatial(self.norm1(x)))
        if self.attention is not None:
            inner = inner * self.attention(inner.mean((2, 3), keepdim=True))
        x = x + self.scale1 * self.merge(inner)
        mixed: Tensor = self.narrow(gate(self.widen(self.norm2(x))))
        return x + self.scale2 * mixed


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        pixels = x.permute(0, 2, 3, 1)
        return F.layer_norm(pixels, self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


def gate(x: Tensor) -> Tensor:
    """Product of the two halves of the channels (SimpleGate)."""
    first, second = x.chunk(2, dim=1)
    return first * second
