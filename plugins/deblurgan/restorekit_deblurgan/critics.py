"""DeblurGAN's critic."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from restorekit.interfaces import Critic


class PatchCritic(Critic):
    """PatchGAN (Isola et al., CVPR 2017, arXiv:1611.07004): each logit judges one patch of the image.

    With three strided layers a logit sees 70×70 pixels.

    Args:
        layers: strided convolutions.
        width: channels after the first; they double up to eight times as many.
        norm: ``instance`` (DeblurGAN, and required by gradient penalties, which look at each image
            alone), ``batch`` (pix2pix) or ``none``.
        conditional: also show the degraded image to the critic.
        channels: of the images.

    Shapes:
        ``(N, C, H, W)`` to one map ``(N, 1, H/8 - 2, W/8 - 2)``.
    """

    def __init__(
        self,
        *,
        layers: Annotated[int, Ge(1)] = 3,
        width: Annotated[int, Gt(0)] = 64,
        norm: Literal["instance", "batch", "none"] = "instance",
        conditional: bool = False,
        channels: Annotated[int, Gt(0)] = 3,
    ) -> None:
        super().__init__()
        self.conditional, self.channels = conditional, channels
        here = width
        body: list[nn.Module] = [nn.Conv2d(channels * (1 + conditional), here, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for layer in range(1, layers + 1):
            there = min(8, 2**layer) * width
            body += [nn.Conv2d(here, there, 4, stride=2 if layer < layers else 1, padding=1), _norm(norm, there), nn.LeakyReLU(0.2)]
            here = there
        body.append(nn.Conv2d(here, 1, 4, padding=1))
        self.body = nn.Sequential(*body)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of the finest image."""
        finest = image[-1] if isinstance(image, tuple) else image
        if self.conditional:
            if given is None:
                raise ValueError("a conditional critic needs the degraded image")
            finest = torch.cat([finest, given], dim=1)
        return (self.body(2 * finest - 1),)


def _norm(kind: str, width: int) -> nn.Module:
    norms: dict[str, type[nn.Module]] = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": nn.Identity}
    return norms[kind](width)
