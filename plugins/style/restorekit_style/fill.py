"""Missing pixels filled with the texture of what is around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor

import restorekit as rk
from restorekit.images import Degraded
from restorekit.interfaces import Features, Iteration, Restorer
from restorekit_style.descent import minimise
from restorekit_style.gatys import MARGIN, default_features, fastest
from restorekit_style.layers import layers_for
from restorekit_style.objective import Objective, Terms, style_targets
from restorekit_style.statistics import STATISTICS

TILE = 1024
BORDER = 8


class TextureFill(Restorer):
    """Fills holes with texture like that around them: style without content.

    The hole is filled smoothly, noise is added, and its pixels are optimised until the statistics of a network's maps
    inside are those of the known pixels around. Gatys, Ecker & Bethge, "Texture synthesis using convolutional neural
    networks", NIPS 2015, arXiv:1505.07376. What was there it cannot know, and regular patterns
    such as brickwork it does not find again: it is for grass, gravel, cloth, and scores lower than a smooth filling.

    Args:
        features: the network; null for VGG-19 with ImageNet's weights, or ``style/random-filters`` where these cannot
            be downloaded.
        layers: whose statistics are taken over; null chooses some that suit the network.
        statistics: ``gram`` matrices, or ``moments``: mean and standard deviation of each channel.
        around: how far from the holes texture is taken, in pixels.
        noise: deviation of the noise in the beginning, which is grey.
        tv_weight: of the total variation beside the statistics' distance: more is smoother.
        steps: evaluations of the network.
        learning_rate: of Adam, in units of the image range.
        precision: ``bf16`` or ``fp32``; ``auto`` takes bf16 where the processor has instructions for it.
        seed: of the noise.

    Raises:
        UserError: the network has no such layers.
    """

    uses = frozenset({"mask"})
    iterative = True

    def __init__(
        self,
        *,
        features: Features | None = None,
        layers: tuple[str, ...] | None = None,
        statistics: Literal["gram", "moments"] = "gram",
        around: Annotated[int, Ge(8)] = 48,
        noise: Annotated[float, Ge(0)] = 0.1,
        tv_weight: Annotated[float, Ge(0)] = 4.0,
        steps: Annotated[int, Ge(1)] = 100,
        learning_rate: Annotated[float, Gt(0)] = 0.02,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.features = default_features() if features is None else features
        _, chosen = layers_for(self.features, None, layers)
        shares = (1 / len(chosen),) * len(chosen)
        self.terms = Terms((), chosen, shares, STATISTICS[statistics], content=0.0, style=1.0, tv=tv_weight)
        self.around, self.noise, self.steps, self.learning_rate = around, noise, steps, learning_rate
        self.precision, self.seed = precision, seed

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self.features.to(device)
        return self

    def restore(self, degraded: Degraded) -> Tensor:
        """The filled image ``(N, C, H, W)``.

        Raises:
            ImageError: there is no mask.
            UserError: nothing is known.
        """
        mask = degraded.need("mask")
        network = fastest(self.features, self.precision, degraded.image.device)
        filled = [self._fill(network, image[None], hole[None]) for image, hole in zip(degraded.image, mask, strict=True)]
        return torch.cat(filled)

    def _fill(self, network: Features, image: Tensor, mask: Tensor) -> Tensor:
        mask = (mask > 0).float()
        if not mask.any():
            return image
        if mask.all():
            raise rk.UserError("the mask covers the whole picture, so that there is no texture to take; white is missing, black is known")
        rows, columns = (
            slice(max(0, int(where.min()) - self.around), int(where.max()) + 1 + self.around) for where in mask[0, 0].nonzero().T
        )
        part, hole = image[..., rows, columns].float(), mask[..., rows, columns]
        smooth = smoothly_filled(part, hole)
        rng = torch.Generator().manual_seed(self.seed)
        start = (smooth + self.noise * hole * torch.randn(part[:, :1].shape, generator=rng).to(part)).clamp(0, 1)
        targets = style_targets(network, self.terms, [smooth], [1.0], TILE, MARGIN, BORDER, mask=1 - hole)
        objective = Objective(network, self.terms, smooth, targets, mask=hole, tile=TILE, margin=MARGIN, border=BORDER)

        def whole(made: Tensor) -> Tensor:
            result = image.clone()
            result[..., rows, columns] = torch.where(hole > 0, made.clamp(0, 1).to(image), image[..., rows, columns])
            return result

        def watcher(step: int, terms: Mapping[str, float], made: Tensor) -> bool:
            return self.report(Iteration(step, self.steps, terms, lambda: whole(made)))

        done = minimise(
            objective, start, optimizer="adam", steps=self.steps, learning_rate=self.learning_rate, tolerance=0.0, watcher=watcher
        )
        return whole(done.image)


def smoothly_filled(image: Tensor, mask: Tensor) -> Tensor:
    """`image` ``(1, C, H, W)`` with the mean of what is near where `mask` is 1, found at ever coarser scales."""
    if not mask.any() or min(image.shape[-2:]) == 1:
        known = 1 - mask
        mean = (image * known).sum((2, 3), keepdim=True) / known.sum().clamp_min(1)
        return torch.where(mask > 0, mean, image)
    known = 1 - mask
    weight = F.avg_pool2d(known, 2, ceil_mode=True)
    half = F.avg_pool2d(image * known, 2, ceil_mode=True) / weight.clamp_min(1e-6)
    below = smoothly_filled(half, (weight == 0).float())
    return torch.where(mask > 0, F.interpolate(below, image.shape[-2:], mode="bilinear"), image)
