"""Photographs side by side with words below them, as HTML and the files that it shows."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from restorekit import photos
from restorekit.registries import RegisteredPart

SIDE = 256


@dataclass
class Drawing:
    """HTML for a page and the files that it shows, beside the page."""

    html: str
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """A picture and the words below it."""

    words: str
    picture: Tensor
    pixels: bool = False


def scene(name: str = "astronaut", top: int = 0, left: int = 100, side: int = SIDE) -> Tensor:
    """A square of a photograph inside scikit-image, ``(1, 3, side, side)``."""
    image = photos.bundled_photo(name).image[:, :, top : top + side, left : left + side]
    return image.expand(-1, 3, -1, -1).clone()


def gallery(part: RegisteredPart, panels: Sequence[Panel], caption: str, columns: int = 0) -> Drawing:
    """Pictures in a grid, each with its words below."""
    files, cells = {}, []
    for number, panel in enumerate(panels, start=1):
        name = f"{part.name.replace('/', '-')}-{number}.webp"
        files[name] = _webp(panel.picture, exact=panel.pixels)
        height, width = panel.picture.shape[-2:]
        words = html.escape(panel.words)
        mark = ' class="pixels"' if panel.pixels else ""
        cells.append(
            f'<div><img{mark} src="{name}" width="{width}" height="{height}" alt="{words}" loading="lazy"><small>{words}</small></div>'
        )
    grid = f'<div class="grid{columns or len(panels)}">{"".join(cells)}</div>'
    return Drawing(f'<figure class="panels">{grid}<figcaption>{caption}</figcaption></figure>', files)


def figure(drawn: str, caption: str) -> Drawing:
    """A chart with words below."""
    return Drawing(f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>".replace("\n", ""))


def shown_psf(psf: Tensor, size: int = 0) -> Tensor:
    """A PSF ``(1, h, w)`` as a picture, brightest where it is largest, cut or widened to `size`."""
    size = size or max(psf.shape[-2:])
    wide = torch.zeros(1, size, size)
    height, width = min(size, psf.shape[-2]), min(size, psf.shape[-1])
    top, left = (psf.shape[-2] - height) // 2, (psf.shape[-1] - width) // 2
    y, x = (size - height) // 2, (size - width) // 2
    wide[:, y : y + height, x : x + width] = psf[:, top : top + height, left : left + width]
    return (wide / wide.amax()).sqrt().unsqueeze(1).expand(-1, 3, -1, -1)


def reach(psf: Tensor) -> int:
    """The odd side of the smallest square around the middle that holds what can be seen of a PSF ``(1, h, w)``."""
    rows, columns = (psf[0] > psf.amax() / 100).nonzero(as_tuple=True)
    middle = (psf.shape[-2] // 2, psf.shape[-1] // 2)
    return 2 * int(max((rows - middle[0]).abs().max(), (columns - middle[1]).abs().max())) + 3


def _webp(image: Tensor, *, exact: bool) -> bytes:
    pixels = image[0].detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).expand(-1, -1, 3).contiguous().numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", lossless=exact, quality=90, method=4)
    return stream.getvalue()
