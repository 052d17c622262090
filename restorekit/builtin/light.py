"""The sRGB curve, and light that is brighter than white."""

from __future__ import annotations

import torch
from torch import Tensor


def decode(image: Tensor) -> Tensor:
    """Linear light, black 0 and white 1, of sRGB-coded values in [0, 1]; any shape.

    Standard: IEC 61966-2-1.
    """
    # the exponential of a logarithm takes half as long as a power
    curve = (image + 0.055).div_(1.055).log_().mul_(2.4).exp_()
    return torch.where(image <= 0.04045, image / 12.92, curve)


def encode(light: Tensor) -> Tensor:
    """sRGB-coded values in [0, 1] of linear light, which is clipped at black and white first; any shape."""
    light = light.clamp(0, 1)
    curve = light.log().div_(2.4).exp_().mul_(1.055).sub_(0.055)
    return torch.where(light <= 0.0031308, 12.92 * light, curve).clamp_(0, 1)


def lift(light: Tensor, image: Tensor, factor: Tensor, threshold: float) -> Tensor:
    """Linear light with what the photograph has clipped made brighter again.

    Each channel is multiplied by 1 at the threshold and below, by `factor` at white, and by what lies
    between in proportion.

    Args:
        light: linear light ``(N, C, H, W)``.
        image: the same, sRGB-coded.
        factor: ``(N,)``, at least 1.
        threshold: sRGB-coded value, in [0, 1).
    """
    share = ((image - threshold) / (1 - threshold)).clamp(min=0)
    return light * (1 + (factor.to(light).view(-1, 1, 1, 1) - 1) * share)
