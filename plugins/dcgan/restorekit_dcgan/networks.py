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
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from restorekit.images import SizeRule
from restorekit.interfaces import Critic, Generator
from restorekit_dcgan.layers import SLOPE, MinibatchDeviation, as_image, one_hot, wanted_size

Side = Literal[28, 32, 64, 128]
Share = Annotated[float, Ge(0), Lt(1)]

DEVIATION = 0.02
"""Of the normal distribution that initial weights are drawn from."""


class DcganGenerator(Generator):
    """Makes pictures from latent vectors by strided transposed convolutions.

    With the default options it keeps the paper's rules; each of the others leaves one of them.

    Shapes: latent ``(N, latent)`` from a standard normal in, image ``(N, channels, size, size)`` in
    [0, 1] out. Initial weights are drawn from torch's current random state.

    Args:
        size: height and width of the picture, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps before the last layer; they double with every halving of the size. The
            paper's drawing has 128.
        latent: length of the latent vector.
        classes: class labels ``(N,)`` that `given` chooses from, shown beside the latent as one number each (cGAN: Mirza &
            Osindero 2014, arXiv:1411.1784); 0 for none.
        dropout: share of the maps that are left out after each layer but the last, while training.
        upsampling: ``transposed`` convolutions as in the paper, or ``resize``: each pixel is repeated and a convolution
            follows, which leaves no checkerboards (Odena, Dumoulin & Olah 2016, doi:10.23915/distill.00003).
    """

    consumes = "latent"

    def __init__(
        self,
        *,
        size: Side = 64,
        channels: Literal[1, 3] = 3,
        width: Annotated[int, Gt(0)] = 64,
        latent: Annotated[int, Gt(0)] = 100,
        classes: Annotated[int, Ge(0)] = 0,
        dropout: Share = 0.0,
        upsampling: Literal["transposed", "resize"] = "transposed",
    ) -> None:
        super().__init__()
        self.size = SizeRule(fixed=(size, size))
        self.channels, self.latent, self.classes = channels, latent, classes
        start, widths = _plan(size, width)

        def finish(maps: int) -> list[nn.Module]:
            return [nn.BatchNorm2d(maps), nn.ReLU(inplace=True), *([nn.Dropout2d(dropout)] if dropout else [])]

        def larger(into: int, out: int, *, bias: bool = False) -> list[nn.Module]:
            if upsampling == "resize":
                return [nn.Upsample(scale_factor=2), nn.Conv2d(into, out, 3, padding=1, bias=bias)]
            return [nn.ConvTranspose2d(into, out, 4, 2, 1, bias=bias)]

        layers: list[nn.Module] = [nn.ConvTranspose2d(latent + classes, widths[-1], start, bias=False), *finish(widths[-1])]
        for wide, narrow in pairwise(reversed(widths)):
            layers += [*larger(wide, narrow), *finish(narrow)]
        layers += larger(width, channels, bias=True)
        self.layers = nn.Sequential(*layers)
        self.squash = nn.Tanh()
        self.apply(_draw)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Make one picture ``(N, channels, size, size)`` in [0, 1] from each latent vector ``(N, latent)``.

        Raises:
            UserError: no class labels `given`, or wrong ones, where it has classes.
        """
        if self.classes:
            x = torch.cat([x, one_hot(given, self.classes, "dcgan/generator").to(x)], 1)
        maps: Tensor = self.layers(x[:, :, None, None])
        return as_image(self.squash(maps.to(torch.promote_types(maps.dtype, torch.float32))))


class DcganCritic(Critic):
    """Judges pictures by strided convolutions.

    Shapes: image ``(N, channels, H, W)`` in [0, 1] with H and W at least `size` in, one map of logits
    ``(N, 1, h, w)`` out, 1×1 for pictures of `size`. Initial weights are drawn from torch's current
    random state.

    Args:
        size: height and width of the pictures that one logit looks at, in pixels.
        channels: 3 for RGB, 1 for grey.
        width: feature maps of the first layer; they double with every halving of the size.
        norm: ``batch`` as in the paper; ``instance`` or ``none`` where a gradient penalty looks at each image alone. Without
            it, initial weights have He's deviation.
        classes: class labels ``(N,)`` that `given` chooses from, shown as a map each beside the picture (cGAN); 0 for none.
        dropout: share of the maps that are left out after each layer but the last, while training.
        spectral: divide each weight by its largest singular value (Miyato et al., ICLR 2018, arXiv:1802.05957).
        deviation: show the last layer how much the pictures of a batch differ (Karras et al., ICLR 2018, arXiv:1710.10196).
    """

    def __init__(
        self,
        *,
        size: Side = 64,
        channels: Literal[1, 3] = 3,
        width: Annotated[int, Gt(0)] = 64,
        norm: Literal["batch", "instance", "none"] = "batch",
        classes: Annotated[int, Ge(0)] = 0,
        dropout: Share = 0.0,
        spectral: bool = False,
        deviation: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.classes, self.conditional = channels, classes, classes > 0
        self.smallest = size
        start, widths = _plan(size, width)

        def finish() -> list[nn.Module]:
            return [nn.LeakyReLU(SLOPE, inplace=True), *([nn.Dropout2d(dropout)] if dropout else [])]

        layers: list[nn.Module] = [nn.Conv2d(channels + classes, width, 4, 2, 1), *finish()]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=norm == "none"), *_norm(norm, wide), *finish()]
        layers += [*([MinibatchDeviation()] if deviation else []), nn.Conv2d(widths[-1] + deviation, 1, start)]
        self.layers = nn.Sequential(*layers)
        self.apply(_draw)
        if norm == "none":
            self.apply(_draw_wide)
        if spectral:
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures, of the last of a tuple from coarse to fine.

        Raises:
            UserError: a picture smaller than the critic's `size`; no class labels `given`, or wrong ones, where it has classes.
        """
        finest = wanted_size(image, self.smallest, "dcgan/critic", larger=True)
        if self.classes:
            labels = one_hot(given, self.classes, "dcgan/critic").to(finest)
            finest = torch.cat([finest, labels[:, :, None, None].expand(-1, -1, *finest.shape[-2:])], 1)
        return (self.layers(finest),)


def _norm(kind: str, maps: int) -> list[nn.Module]:
    if kind == "none":
        return []
    return [nn.BatchNorm2d(maps) if kind == "batch" else nn.InstanceNorm2d(maps, affine=True)]


def _plan(size: int, width: int) -> tuple[int, list[int]]:
    """Side of the smallest map, and the number of maps at each resolution below the picture's, finest first."""
    start = 7 if size == 28 else 4
    halvings = (size // start).bit_length() - 1
    return start, [width << i for i in range(halvings)]


def _draw_wide(module: nn.Module) -> None:
    # With weights of deviation 0.02 and nothing to bring the maps back to unit variance, the logits would hardly differ.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, SLOPE)


def _draw(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, DEVIATION)
        nn.init.zeros_(module.bias)
