"""Batches of patches as a pure function of seed and step, so that stopping, resuming and reading ahead change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import photos, seeding
from restorekit.errors import ImageError, TrainingError, UserError
from restorekit.images import Degraded
from restorekit.interfaces import Degradation
from restorekit.settings import BUNDLED, DataSettings

VALIDATION_SIDE = 512
"""Validation pictures are cut to at most this many pixels a side, so that a validation takes seconds."""


@dataclass(frozen=True)
class Batch:
    """Sharp patches ``(N, C, H, W)`` and what the generator gets of them."""

    sharp: Tensor
    degraded: Degraded

    def to(self, device: torch.device) -> Batch:
        """A copy on `device`."""
        return Batch(self.sharp.to(device), self.degraded.to(device))


class Images:
    """Photographs decoded once and kept as uint8 ``(H, W, C)``.

    Args:
        source: folder, or ``bundled``.
        channels: 1 or 3.
        smallest: images with a side below this are left out and listed in `skipped`.

    Raises:
        UserError: no such folder, or no usable image in it.
    """

    def __init__(self, source: str, *, channels: int, smallest: int) -> None:
        self.skipped: list[str] = []
        self.names: list[str] = []
        self.pixels: list[np.ndarray] = []
        if source == BUNDLED:
            for name in photos.bundled():
                self._add(name, photos.bundled_photo(name).image, channels, smallest)
        else:
            folder = Path(source)
            if not folder.is_dir():
                raise UserError(f"{source}: no such folder of images; '{BUNDLED}' means the photographs inside scikit-image")
            for path in photos.find([folder]):
                try:
                    self._add(str(path), photos.read(path).image, channels, smallest)
                except ImageError as fault:
                    self.skipped.append(str(fault))
        if not self.pixels:
            why = "; ".join(self.skipped[:3]) or "no image files in it"
            raise TrainingError(f"{source}: no usable image: {why}")

    def _add(self, name: str, image: Tensor, channels: int, smallest: int) -> None:
        height, width = image.shape[-2:]
        if min(height, width) < smallest:
            self.skipped.append(f"{name}: {width}×{height}, smaller than the {smallest} pixels that data.crop needs")
            return
        if image.shape[1] != channels:
            image = image.expand(-1, 3, -1, -1) if channels == 3 else _grey(image)
        self.names.append(name)
        self.pixels.append(image[0].permute(1, 2, 0).mul(255).round().byte().contiguous().numpy())

    def __len__(self) -> int:
        return len(self.pixels)

    def split(self, share: float, seed: int) -> tuple[Images, Images]:
        """Two sets, the second with `share` of the images, chosen by `seed`; at least one image each."""
        if len(self) < 2:
            raise TrainingError("only one usable image: give at least two, or a folder for data.validation")
        order = torch.randperm(len(self), generator=seeding.generator(seed, "holdout")).tolist()
        count = min(len(self) - 1, max(1, round(share * len(self))))
        return self._pick(sorted(order[count:])), self._pick(sorted(order[:count]))

    def _pick(self, indices: list[int]) -> Images:
        chosen = object.__new__(Images)
        chosen.skipped = []
        chosen.names = [self.names[i] for i in indices]
        chosen.pixels = [self.pixels[i] for i in indices]
        return chosen


def _grey(image: Tensor) -> Tensor:
    red, green, blue = image.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


class PatchSource:
    """Training batches.

    Patches are cut with a margin as wide as the degradation reaches, degraded, then cropped, so that
    inside the photograph no border is invented; beyond its edge pixels are mirrored.

    Args:
        images: the photographs.
        settings: the recipe's ``data``.
        degradation: or None, where the generator makes images from a latent.
        seed: of everything that is drawn.
    """

    def __init__(self, images: Images, settings: DataSettings, degradation: Degradation | None, seed: int) -> None:
        scale = degradation.scale if degradation else 1
        if settings.crop % scale:
            raise TrainingError(f"data.crop: {settings.crop} is no multiple of {scale}, the degradation's scale")
        if scale > 1 and settings.sharp_share:
            raise TrainingError("data.sharp_share: must be 0 where the degradation changes the size")
        self.images, self.settings, self.degradation, self.seed = images, settings, degradation, seed
        self.margin = degradation.margin * scale if degradation else 0

    def batch(self, step: int) -> Batch:
        """The batch of one step; the same for the same seed, whoever asks and when."""
        settings = self.settings
        rng = seeding.generator(self.seed, "batch", step)
        patches = torch.stack([self._patch(index, rng) for index in self._indices(step)])
        patches = patches.permute(0, 3, 1, 2).contiguous().float() / 255
        inner = slice(self.margin, self.margin + settings.crop)
        sharp = patches[..., inner, inner].contiguous()
        if self.degradation is None:
            return Batch(sharp, Degraded(sharp))
        params = self.degradation.sample(settings.batch, (patches.shape[1], patches.shape[2], patches.shape[3]), rng)
        degraded = self.degradation.apply(patches, params)
        scale = self.degradation.scale
        inner = slice(self.degradation.margin, self.degradation.margin + settings.crop // scale)
        image = degraded.image[..., inner, inner].contiguous()
        mask = None if degraded.mask is None else degraded.mask[..., inner, inner].contiguous()
        if settings.sharp_share:
            untouched = torch.rand(settings.batch, 1, 1, 1, generator=rng) < settings.sharp_share
            image = torch.where(untouched, sharp, image)
            mask = None if mask is None else torch.where(untouched, torch.zeros(()), mask)
        return Batch(sharp, replace(degraded, image=image, mask=mask))

    def _indices(self, step: int) -> list[int]:
        count = len(self.images)
        found = []
        for position in range(step * self.settings.batch, (step + 1) * self.settings.batch):
            epoch, place = divmod(position, count)
            order = torch.randperm(count, generator=seeding.generator(self.seed, "epoch", epoch))
            found.append(int(order[place]))
        return found

    def _patch(self, index: int, rng: torch.Generator) -> Tensor:
        """``(side, side, C)`` uint8, side = crop + 2 · margin."""
        pixels = self.images.pixels[index]
        height, width = pixels.shape[:2]
        side = self.settings.crop + 2 * self.margin
        low, high = self.settings.zoom
        zoom = low + (high - low) * float(torch.rand((), generator=rng))
        crop = min(round(self.settings.crop / zoom), height, width)
        margin = round(self.margin * crop / self.settings.crop)
        top = int(torch.randint(height - crop + 1, (), generator=rng)) - margin
        left = int(torch.randint(width - crop + 1, (), generator=rng)) - margin
        reach = np.arange(crop + 2 * margin)
        patch = torch.from_numpy(pixels[np.ix_(_mirror(top + reach, height), _mirror(left + reach, width))])
        if patch.shape[0] != side:
            planes = patch.permute(2, 0, 1)[None].float()
            resized = F.interpolate(planes, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
            patch = resized[0].clamp(0, 255).round().byte().permute(1, 2, 0)
        if self.settings.flips:
            turns, mirror = divmod(int(torch.randint(8, (), generator=rng)), 2)
            patch = torch.rot90(patch, turns, (0, 1))
            patch = patch.flip(1) if mirror else patch
        return patch


def _mirror(index: np.ndarray, length: int) -> np.ndarray:
    """Indices outside 0 … length - 1 reflected without repeating the edge, as often as needed."""
    period = max(2 * length - 2, 1)
    index = np.abs(index) % period
    return np.where(index >= length, period - index, index)


def validation_pairs(images: Images, settings: DataSettings, degradation: Degradation, seed: int) -> list[Batch]:
    """The same few degraded photographs at every validation, one a batch since sizes differ."""
    pairs = []
    scale = degradation.scale
    for number, pixels in enumerate(images.pixels[: settings.validation_images]):
        top, left = (max(0, (side - VALIDATION_SIDE) // 2) for side in pixels.shape[:2])
        cut = pixels[top : top + VALIDATION_SIDE, left : left + VALIDATION_SIDE]
        height, width = (side // scale * scale for side in cut.shape[:2])
        sharp = torch.from_numpy(cut[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255
        params = degradation.sample(1, (sharp.shape[1], height, width), seeding.generator(seed, "validation", number))
        pairs.append(Batch(sharp, degradation.apply(sharp, params)))
    return pairs
