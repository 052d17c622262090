"""Patches: where they lie, how they are turned and coloured, and cutting them out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit.datasets.photographs import Pixels


@dataclass(frozen=True)
class Place:
    """Where a patch lies in its photograph and how it is turned, the same for both sides of a pair.

    Attributes:
        top, left: first row and column, in pixels of the sharp photograph.
        crop: rows and columns.
        turns: quarter turns.
        mirrored: whether it is mirrored after turning.
    """

    top: int
    left: int
    crop: int
    turns: int = 0
    mirrored: bool = False


def draw_place(
    size: tuple[int, ...],
    crop: int,
    *,
    zoom: tuple[float, float],
    flips: bool | Literal["mirror"],
    rng: torch.Generator,
    multiple_of: int = 1,
) -> Place:
    """Draw the place of a patch.

    Args:
        size: height and width of the photograph.
        crop: rows and columns of the patch at full scale.
        zoom: range of scales; a patch at 0.5 shows twice as many rows of the photograph.
        flips: turn and mirror, or only mirror left and right.
        rng: where to draw from.
        multiple_of: of which every coordinate is a multiple.
    """
    height, width = size[:2]
    low, high = zoom
    scale = low + (high - low) * float(torch.rand((), generator=rng))
    crop = min(round(crop / scale), height, width) // multiple_of * multiple_of
    top, left = (int(torch.randint((side - crop) // multiple_of + 1, (), generator=rng)) * multiple_of for side in (height, width))
    ways = 2 if flips == "mirror" else 8
    turns, mirrored = divmod(int(torch.randint(ways, (), generator=rng)), 2) if flips else (0, 0)
    return Place(top, left, crop, turns, bool(mirrored))


def cut(pixels: Pixels, place: Place, *, side: int, margin: int = 0, scale: int = 1) -> Tensor:
    """Cut a patch.

    Args:
        pixels: ``(H, W, C)``.
        place: in pixels of the sharp photograph.
        side: rows and columns of the result without its margin; the patch is resized where it has others.
        margin: pixels of the result around it; beyond the photograph's edge they are mirrored.
        scale: height of the sharp photograph over that of `pixels`.

    Returns:
        ``(side + 2 · margin, side + 2 · margin, C)`` uint8.
    """
    height, width = pixels.shape[:2]
    crop = place.crop // scale
    around = round(margin * crop / side)
    reach = np.arange(crop + 2 * around)
    rows = mirror(place.top // scale - around + reach, height)
    columns = mirror(place.left // scale - around + reach, width)
    patch = torch.from_numpy(pixels[np.ix_(rows, columns)])
    whole = side + 2 * margin
    if patch.shape[0] != whole:
        planes = patch.permute(2, 0, 1)[None].float()
        resized = F.interpolate(planes, size=(whole, whole), mode="bicubic", antialias=True, align_corners=False)
        patch = resized[0].clamp(0, 255).round().byte().permute(1, 2, 0)
    patch = torch.rot90(patch, place.turns, (0, 1))
    return patch.flip(1) if place.mirrored else patch


def mirror(index: np.ndarray, length: int) -> np.ndarray:
    """Indices outside 0 … length - 1 reflected without repeating the edge, as often as needed."""
    period = max(2 * length - 2, 1)
    index = np.abs(index) % period
    return np.where(index >= length, period - index, index)


@dataclass(frozen=True)
class Colours:
    """A change of colours that is affine in RGB, so that it commutes with blur and adds the same to both sides of a pair.

    Attributes:
        matrix: ``(C, C)``, applied to the channels.
        offset: added to each channel afterwards.
    """

    matrix: Tensor
    offset: Tensor


def draw_colours(strength: float, channels: int, rng: torch.Generator) -> Colours:
    """Draw a change of brightness, contrast, saturation and hue.

    Brightness and contrast (about mid-grey) are multiplied by 1 ± `strength`, and so is the distance of colours from their
    luma (BT.601); the hue turns about the grey axis by up to 90° times `strength`. Grey pictures have the first two.

    Args:
        strength: 0 … 1; 0 changes nothing.
        channels: 1 or 3.
        rng: where to draw from.
    """
    brightness, contrast, saturation, hue = (strength * (2 * torch.rand(4, dtype=torch.float64, generator=rng) - 1)).tolist()
    matrix = torch.eye(channels, dtype=torch.float64) * (1 + brightness) * (1 + contrast)
    if channels == 3:
        luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).expand(3, 3)
        matrix = matrix @ (luma + (1 + saturation) * (torch.eye(3, dtype=torch.float64) - luma)) @ _turn(math.pi / 2 * hue)
    return Colours(matrix.float(), torch.full((channels,), -contrast / 2))


def _turn(angle: float) -> Tensor:
    """Rotation of RGB space about the grey axis (Rodrigues' formula)."""
    across = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)
    along = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    return along + math.cos(angle) * (torch.eye(3, dtype=torch.float64) - along) + math.sin(angle) * across


def recolour(image: Tensor, colours: list[Colours]) -> Tensor:
    """`image` ``(N, C, H, W)`` with one change of colours for each, clamped to [0, 1]."""
    matrix = torch.stack([c.matrix for c in colours])
    offset = torch.stack([c.offset for c in colours])
    return torch.baddbmm(offset[:, :, None], matrix, image.flatten(2)).clamp(0, 1).view_as(image)
