"""``make demo``: a photograph blurred by a shaking camera and restored, or your own picture restored.

python -m restorekit.demo
python -m restorekit.demo --photo my.jpg
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from restorekit.cli import common

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from restorekit.images import Degraded

PHOTO = "astronaut"
"""The photograph inside scikit-image that the demo takes."""

SHAKE = [
    {"part": "core/camera-shake", "length": [16.0, 18.0], "curvature": [1.0, 2.0], "jerk": [0.0, 0.0]},
    {"part": "core/gaussian-noise", "sigma": 0.01},
]
SEED = 3
METRICS = {"core/psnr": "PSNR (dB)", "core/ssim": "SSIM"}
PICTURE = "before-after.png"

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What the demo did.

    Attributes:
        picture: the comparison that was written.
        restored: the restored photograph by itself.
        method: what restored it.
        seconds: for the restoration alone.
        size: width and height.
        before: scores of the blurred photograph by metric; empty for the user's own picture.
        after: scores of the restored one; likewise.
    """

    picture: Path
    restored: Path
    method: str
    seconds: float
    size: tuple[int, int]
    before: Scores
    after: Scores


def demonstrate(photo: Path | None, out: Path, method: str | None = None, *, say: Callable[[str], None] = lambda words: None) -> Outcome:
    """Restore a photograph and write the comparison.

    Args:
        photo: the user's picture, restored as it is; None takes one of scikit-image's and blurs it first.
        out: folder for the results.
        method: what restores it; the default method if None.
        say: told what is being done, before each of `STAGES`.

    Raises:
        UserError: the picture cannot be read, the results cannot be written, or there is no such method.
    """
    say("loading torch")
    from restorekit import devices, discovery, methods, photos, restoration
    from restorekit.comparison import Panel, compare
    from restorekit.images import Degraded

    say("loading the method")
    registry = discovery.registry()
    chosen = methods.resolve(method or registry.default_for("restore").name, registry=registry)
    place = devices.pick("auto")
    say("reading the photograph")
    opened = photos.bundled_photo(PHOTO) if photo is None else photos.read(photo)
    if photo is None:
        say("shaking the camera")
        degraded = _shaken(opened.image)
    else:
        degraded = Degraded(opened.image)
    say(f"restoring with {chosen.label}")
    start = time.perf_counter()
    restored = restoration.restore(chosen.restorer.to(place), degraded.to(place), name=chosen.label).cpu()
    seconds = time.perf_counter() - start
    say("comparing")
    suffix = photo.suffix.lower() if photo and photo.suffix.lower() in photos.SUFFIXES else ".png"
    file = photos.write(out / f"restored{suffix}", restored, like=opened)
    before: Scores = {}
    after: Scores = {}
    panels = []
    if photo is None:
        before, after = _scores(degraded.image, opened.image), _scores(restored, opened.image)
        panels.append(Panel("sharp", _picture(opened.image)))
    decibels = "core/psnr"
    panels += [
        Panel(f"blurred {before[decibels]:.1f} dB" if before else "before", _picture(degraded.image)),
        Panel(f"restored {after[decibels]:.1f} dB" if after else "after", _picture(restored, like=degraded.image)),
    ]
    sheet = photos.write(out / PICTURE, _tensor(compare(panels)))
    return Outcome(sheet, file, chosen.label, seconds, (restored.shape[-1], restored.shape[-2]), before, after)


STAGES = 6
"""How often `demonstrate` says what it does."""


def _shaken(image: Tensor) -> Degraded:
    """The photograph as a shaking camera would have stored it, in 8 bits, with the PSF for methods that use it."""
    from restorekit import discovery, seeding

    shake = discovery.registry().create("degradation", "core/sequence", steps=SHAKE)
    _, channels, height, width = image.shape
    drawn = shake.sample(1, (channels, height, width), seeding.generator("demo", SEED))
    shaken: Degraded = shake.apply(image, drawn)
    return replace(shaken, image=shaken.image.mul(255).round().div(255))


def _scores(image: Tensor, target: Tensor) -> Scores:
    from restorekit import discovery

    registry = discovery.registry()
    return {name: float(registry.create("metric", name)(image, target)[0]) for name in METRICS}


def _picture(image: Tensor, like: Tensor | None = None) -> Image.Image:
    """As a picture; enlarged to the size of `like`, so that a method that enlarges can be compared."""
    from PIL import Image

    pixels = image[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).expand(-1, -1, 3).numpy()
    picture = Image.fromarray(pixels)
    size = picture.size if like is None else (like.shape[-1], like.shape[-2])
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _tensor(picture: Image.Image) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255


@click.command(
    context_settings=common.COMMAND_LINE,
    epilog=common.examples("python -m restorekit.demo", "python -m restorekit.demo --photo my.jpg"),
)
@click.option("--photo", metavar="FILE", type=click.Path(path_type=Path), help="Restore this picture, as it is, instead of the example.")
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Where the results go."
)
@click.option("--with", "method", metavar="NAME|MODELFILE", help="The method; the model that ships with restorekit's plugins if not given.")
@common.debug_option
def demo(photo: Path | None, out: Path, method: str | None) -> None:
    """Blur a photograph with camera shake, restore it, and show both; or restore your own picture."""
    with common.progress("starting", STAGES) as steps:
        outcome = demonstrate(photo, out, method, say=lambda words: steps.move(words, 1))
    _show(outcome)


def _show(outcome: Outcome) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    width, height = outcome.size
    console = Console(highlight=False)
    if outcome.before:
        table = Table("", "blurred", "restored", "gain", box=SIMPLE_HEAD)
        for column in table.columns[1:]:
            column.justify = "right"
        for name, words in METRICS.items():
            before, after = outcome.before[name], outcome.after[name]
            digits = 3 if words == "SSIM" else 2
            table.add_row(words, f"{before:.{digits}f}", f"{after:.{digits}f}", f"{after - before:+.{digits}f}")
        console.print(table)
    facts = Table.grid(padding=(0, 2))
    facts.add_row(" method", outcome.method)
    facts.add_row(" time", f"{outcome.seconds:.1f} s for {width}×{height} pixels")
    facts.add_row(" picture", str(outcome.picture))
    facts.add_row(" restored", str(outcome.restored))
    console.print(facts, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(common.execute(demo, None, "python -m restorekit.demo"))
