"""What the critic sees instead of the images: differentiable augmentation, also adaptive, and noise that fades away.

Real and made images are changed by the same kinds of change, drawn for each image, in the critic's rounds and in the
generator's step. A critic that never sees the few training images as they are cannot learn them by heart, and since the
made images are changed likewise, the generator does not learn the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit.errors import TrainingError
from restorekit.interfaces.adversarial import Images

SHIFT = 1 / 8
"""Largest translation, as a share of the side."""

HOLE = 1 / 2
"""Side of the square that is cut out, likewise."""

GREY = 0.5
"""What is shown where there is no image."""

SMOOTH = 0.9
"""Of the share of real images called real, over steps."""


def colour(image: Tensor) -> Tensor:
    """Another brightness, saturation and contrast for each image."""
    brightness, saturation, contrast = torch.rand(3, len(image), 1, 1, 1, device=image.device).unbind()
    image = image + (brightness - 0.5) / 2
    grey = image.mean(1, keepdim=True)
    image = grey + 2 * saturation * (image - grey)
    mean = image.mean((1, 2, 3), keepdim=True)
    changed: Tensor = mean + (contrast + 0.5) * (image - mean)
    return changed


def translation(image: Tensor) -> Tensor:
    """Shifted by up to an eighth of the side, grey where nothing comes in."""
    n, _, height, width = image.shape
    most = (round(height * SHIFT), round(width * SHIFT))
    down, right = (torch.randint(-side, side + 1, (n, 1), device=image.device) for side in most)
    rows = (torch.arange(height, device=image.device) - down + most[0]).clamp(0, height + 2 * most[0] - 1)
    columns = (torch.arange(width, device=image.device) - right + most[1]).clamp(0, width + 2 * most[1] - 1)
    wide = F.pad(image, (most[1], most[1], most[0], most[0]), value=GREY)
    picked = wide.permute(0, 2, 3, 1)[torch.arange(n, device=image.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def cutout(image: Tensor) -> Tensor:
    """With a grey square of half the side, which may reach over the border."""
    n, _, height, width = image.shape
    sides = round(height * HOLE), round(width * HOLE)
    top = torch.randint(-(sides[0] // 2), height - sides[0] // 2, (n, 1), device=image.device)
    left = torch.randint(-(sides[1] // 2), width - sides[1] // 2, (n, 1), device=image.device)
    rows, columns = torch.arange(height, device=image.device), torch.arange(width, device=image.device)
    hole = ((rows >= top) & (rows < top + sides[0]))[:, None, :, None] & ((columns >= left) & (columns < left + sides[1]))[:, None, None, :]
    return torch.where(hole, image.new_tensor(GREY), image)


KINDS: dict[str, Callable[[Tensor], Tensor]] = {"colour": colour, "translation": translation, "cutout": cutout}
"""By the names that ``train.augment`` takes."""


@dataclass
class Augment:
    """Changes images before the critic sees them.

    Zhao et al., NeurIPS 2020, arXiv:2006.10738; the adaptive probability is that of Karras et al., NeurIPS 2020,
    arXiv:2006.06676: it rises while the critic calls too many of the real images real, and falls again.

    Args:
        kinds: names from `KINDS`, applied in this order.
        probability: of each kind for each image.
        target: mean sign of the critic's logits of real images that the probability is adapted to, or None.
        reach: images over which it goes from 0 to 1 at most.
        noise: deviation of the Gaussian noise that is added at the moment.
    """

    kinds: Sequence[str] = ()
    probability: float = 1.0
    target: float | None = None
    reach: int = 1
    noise: float = 0.0
    sign: float | None = None

    def __call__(self, images: Images) -> Images:
        """The images, or all scales of them, changed.

        Raises:
            TrainingError: scales, which cannot be moved alike.
        """
        if isinstance(images, tuple):
            if self.kinds:
                raise TrainingError("train.augment: not with a generator that makes several sizes at once; leave it out")
            return tuple(self._noisy(image) for image in images)
        if self.probability > 0:
            for kind in self.kinds:
                changed = KINDS[kind](images)
                if self.probability < 1:
                    some = torch.rand(len(images), 1, 1, 1, device=images.device) < self.probability
                    changed = torch.where(some, changed, images)
                images = changed
        return self._noisy(images)

    def _noisy(self, image: Tensor) -> Tensor:
        return image + self.noise * torch.randn_like(image) if self.noise else image

    def adapt(self, sign: float, images: int) -> None:
        """Take in the mean sign of the critic's logits of `images` real images."""
        if self.target is None:
            return
        self.sign = sign if self.sign is None else SMOOTH * self.sign + (1 - SMOOTH) * sign
        step = images / self.reach
        self.probability = min(1.0, max(0.0, self.probability + (step if self.sign > self.target else -step)))

    def extras(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"probability": self.probability, "sign": self.sign}

    def resume(self, extras: dict[str, Any]) -> None:
        """Go on from what `extras` gave."""
        if self.target is not None:
            self.probability, self.sign = extras["probability"], extras["sign"]


def pyramid(real: Tensor, fake: Images) -> Images:
    """Real images at the sizes of the made ones, by means over areas."""
    if isinstance(fake, tuple):
        return tuple(_at(real, image) for image in fake)
    return _at(real, fake)


def _at(real: Tensor, like: Tensor) -> Tensor:
    return real if real.shape[-2:] == like.shape[-2:] else F.interpolate(real, like.shape[-2:], mode="area")
