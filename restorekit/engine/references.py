"""Reference pictures, such as styles, that go with training patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import photos, seeding
from restorekit.errors import TrainingError, UserError
from restorekit.settings import DataSettings


@dataclass(frozen=True)
class References:
    """Pictures ``(K, 3, S, S)`` of which every patch gets one."""

    pictures: Tensor
    seed: int

    def drawn(self, step: int, number: int) -> int:
        """Which picture goes with a patch; it follows from seed, step and the patch's number."""
        rng = seeding.generator(self.seed, "reference", step, number)
        return int(torch.randint(len(self.pictures), (), generator=rng))

    def taken(self, chosen: list[int]) -> Tensor:
        """Those pictures; not copied where it is one and the same for all."""
        if len(self.pictures) == 1:
            return self.pictures.expand(len(chosen), -1, -1, -1)
        return self.pictures[chosen]


def read_references(settings: DataSettings, seed: int) -> References | None:
    """The pictures that ``data.reference`` names, the largest middle square of each, brought to one size; None without any.

    Raises:
        TrainingError: one cannot be found or read.
    """
    if settings.reference is None:
        return None
    given = [settings.reference] if isinstance(settings.reference, str) else list(settings.reference)
    side = settings.reference_side or settings.crop
    try:
        found = [photos.read(file).image for file in photos.find(given)]
    except UserError as fault:
        raise TrainingError(f"data.reference: {fault}") from fault
    return References(torch.cat([_square(image, side) for image in found]), seed)


def _square(image: Tensor, side: int) -> Tensor:
    height, width = image.shape[-2:]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    middle = image[..., top : top + least, left : left + least].expand(-1, 3, -1, -1)
    return F.interpolate(middle, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
