"""Folders of photographs and pairs for tests, and what goes wrong with files."""

from __future__ import annotations

import io
from pathlib import Path

import skimage.data
from PIL import Image

from restorekit.datasets import layouts
from restorekit.datasets.photographs import Photographs

CAT = skimage.data.chelsea()


def write_pairs(folder: Path, count: int = 3, scale: int = 1) -> Photographs:
    """Pairs whose degraded side is the negative, so that one side tells what the other must be."""
    for number in range(count):
        sharp = CAT[40 * number : 40 * number + 96, 30 * number : 30 * number + 120]
        for side, pixels in (("sharp", sharp), ("degraded", 255 - sharp[::scale, ::scale])):
            (folder / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / side / f"{number}.png")
    return Photographs(layouts.find(folder / "sharp", degraded=folder / "degraded"), channels=3, smallest=32, scale=scale)


def write_sharp(folder: Path, count: int = 6) -> Photographs:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(CAT[30 * number : 30 * number + 90, 40 * number : 40 * number + 110]).save(folder / f"{number}.jpg")
    return Photographs(layouts.find(folder), channels=3, smallest=32)


def damage(path: Path) -> None:
    """Cut a picture's content off behind a sound header, as an interrupted copy does."""
    stream = io.BytesIO()
    Image.open(path).convert("RGB").save(stream, "JPEG")
    path.write_bytes(stream.getvalue()[: stream.tell() * 2 // 3])
