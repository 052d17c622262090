"""Before and after in one picture: labelled panels side by side and, below, the same detail of each enlarged."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two outside the box, as in Pillow."""

PAPER = (255, 255, 255)
INK = (25, 25, 25)
FRAME = (255, 176, 0)
GAP = 8


@dataclass(frozen=True)
class Panel:
    """One picture of a comparison and the words above it."""

    label: str
    picture: Image.Image


def compare(panels: Sequence[Panel], *, crop: Box | None = None, widest: int = 640) -> Image.Image:
    """Put pictures of one scene side by side, with a row of enlarged details below.

    Args:
        panels: from left to right, all of one size.
        crop: the detail to enlarge; where the first picture has the most structure if None.
        widest: a panel is at most this many pixels wide; larger photographs are reduced, the detail is
            cut from the full resolution.

    Raises:
        ValueError: no panel, or panels of different sizes.
    """
    sizes = {panel.picture.size for panel in panels}
    if len(sizes) != 1:
        raise ValueError(f"expected panels of one size, got {sorted(sizes) or 'none'}")
    (size,) = sizes
    crop = crop or busiest(panels[0].picture)
    scale = min(1.0, widest / size[0])
    top = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    detail = (top[0], max(1, round(top[0] * (crop[3] - crop[1]) / (crop[2] - crop[0]))))
    font = _font([panel.label for panel in panels], top[0])
    bar = _height(font) + GAP
    sheet = Image.new("RGB", (len(panels) * (top[0] + GAP) + GAP, bar + top[1] + detail[1] + 3 * GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    line = max(2, top[0] // 200)
    for index, panel in enumerate(panels):
        picture = panel.picture.convert("RGB")
        left, upper = GAP + index * (top[0] + GAP), GAP + bar
        draw.text((left + top[0] // 2, GAP + bar // 2), panel.label, INK, font=font, anchor="mm")
        sheet.paste(picture.resize(top, Image.Resampling.LANCZOS) if top != size else picture, (left, upper))
        x0, y0, x1, y1 = (round(value * scale) for value in crop)
        framed = (left + x0, upper + y0, left + max(x0, x1 - 1), upper + max(y0, y1 - 1))
        draw.rectangle(framed, outline=FRAME, width=line)
        lower = upper + top[1] + GAP
        sheet.paste(picture.crop(crop).resize(detail, Image.Resampling.BICUBIC), (left, lower))
        draw.rectangle((left, lower, left + detail[0] - 1, lower + detail[1] - 1), outline=FRAME, width=line)
    return sheet


def before_after(before: Tensor, after: Tensor) -> bytes:
    """A picture and what was made of it, side by side, as a PNG file.

    Args:
        before: ``(1, C, h, w)`` in [0, 1], or whole numbers; enlarged where `after` is larger.
        after: ``(1, C, H, W)``.
    """
    old, new = (Image.fromarray(_pixels(image)) for image in (before, after))
    panels = [Panel("before", old.resize(new.size, Image.Resampling.BICUBIC)), Panel("after", new)]
    stream = io.BytesIO()
    compare(panels).save(stream, "PNG")
    return stream.getvalue()


def _pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    import torch

    from restorekit.images import whole_numbers

    pixels: npt.NDArray[np.uint8] = whole_numbers(image, torch.uint8)[0].permute(1, 2, 0).cpu().numpy()
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def busiest(picture: Image.Image, share: float = 0.3) -> Box:
    """The part of a picture with the most structure: the largest mean gradient, and not at the rim if it can be helped.

    Args:
        picture: where to look.
        share: width and height of the part as a share of the picture's.
    """
    width, height = picture.size
    box_width, box_height = max(1, round(width * share)), max(1, round(height * share))
    grey = np.asarray(picture.convert("L"), dtype=np.float64)
    energy = np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    sums = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    totals = (
        sums[box_height:, box_width:] - sums[:-box_height, box_width:] - sums[box_height:, :-box_width] + sums[:-box_height, :-box_width]
    )
    margin_y, margin_x = min(height // 20, (totals.shape[0] - 1) // 2), min(width // 20, (totals.shape[1] - 1) // 2)
    inner = totals[margin_y : totals.shape[0] - margin_y, margin_x : totals.shape[1] - margin_x]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    left, upper = int(x) + margin_x, int(y) + margin_y
    return left, upper, left + box_width, upper + box_height


def _font(labels: Sequence[str], width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest of a few sizes at which every label fits its panel."""
    for size in range(max(12, width // 20), 9, -1):
        font = ImageFont.load_default(size)
        if all(font.getbbox(label)[2] <= width for label in labels):
            return font
    return ImageFont.load_default(10)


def _height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return int(font.getbbox("Ag")[3])
