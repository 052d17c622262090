"""Restored pictures as they are kept beside the scores, to look at; no score is taken from them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from restorekit import files

FOLDER = "pictures"
TARGET = "_target"
"""Stands for a method's name in the paths of the sharp pictures."""

QUALITY = 85
SUFFIX = ".webp"


def path(out: Path, method: str, image: str, degradation: str = "", draw: int = 0) -> Path:
    """Where a picture is kept; the sharp one, `TARGET`, has no degradation."""
    folder = out / FOLDER / method / degradation / (f"draw-{draw}" if draw else "")
    return folder / (image + SUFFIX)


def keep(file: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W, C)`` pixels, of 1 or 3 channels, as WebP."""
    files.write(file, encoded(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)))


def encoded(picture: Image.Image) -> bytes:
    """`picture` as WebP, lossy."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "WEBP", quality=QUALITY, method=4)
    return stream.getvalue()
