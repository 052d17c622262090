"""The same latent vectors through a run: a picture at every validation, and all of them as an animation."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from torch import Tensor

from restorekit import files
from restorekit.engine.callbacks import Callback
from restorekit.sampling import sheet

FOLDER = "samples"
ANIMATION = "samples.gif"

FRAME = 400
"""Milliseconds that each picture of the animation is shown."""

LAST = 2000
"""Milliseconds for the last one."""

MOMENTS = 6
"""Pictures of `through_time`, at most."""


class Samples(Callback):
    """Writes ``samples/000500.png`` after step 500, and so on, and in the end ``samples.gif``.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, step: int, steps: int) -> None:
        """Remove what an interrupted run wrote after its last checkpoint."""
        for path in frames(self.folder):
            if int(path.stem) > step or step == 0:
                path.unlink()

    def made(self, step: int, images: Tensor) -> None:
        """Write a picture."""
        packed = io.BytesIO()
        _picture(sheet(images)).save(packed, "PNG")
        files.write(self.folder / FOLDER / f"{step:06}.png", packed.getvalue())

    def finish(self) -> None:
        """Write the animation."""
        shown = [Image.open(path).convert("RGB") for path in frames(self.folder)]
        if not shown:
            return
        packed = io.BytesIO()
        durations = [FRAME] * (len(shown) - 1) + [LAST]
        shown[0].save(packed, "GIF", save_all=True, append_images=shown[1:], duration=durations, loop=0)
        files.write(self.folder / ANIMATION, packed.getvalue())


def frames(folder: Path) -> list[Path]:
    """The pictures of a run, in the order of their steps."""
    return sorted(path for path in (folder / FOLDER).glob("*.png") if path.stem.isdecimal())


def through_time(folder: Path) -> list[tuple[int, Image.Image]]:
    """A few of the pictures of a run from first to last, each with its step; none where there are fewer than two."""
    found = frames(folder)
    if len(found) < 2:
        return []
    count = min(MOMENTS, len(found))
    picked = [found[round(i * (len(found) - 1) / (count - 1))] for i in range(count)]
    return [(int(path.stem), Image.open(path).convert("RGB")) for path in picked]


def _picture(image: Tensor) -> Image.Image:
    pixels = image[0].expand(3, -1, -1).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.cpu().numpy())
