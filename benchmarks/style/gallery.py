"""The gallery in the style plugin's README: two photographs of scikit-image in three styles, with their style pictures.

python benchmarks/style/gallery.py --weights squeezenet1_0.safetensors --out plugins/style/gallery.jpg
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from paintings import PAINTINGS
from PIL import Image
from torch import Tensor

import restorekit as rk
from restorekit import photos
from restorekit.images import Degraded

PHOTOGRAPHS = {"astronaut": (slice(0, 342), slice(60, 512)), "chelsea": (slice(0, 300), slice(0, 397))}
"""Names in scikit-image, and the part that is shown, 1.32 times as wide as high."""

OPTIONS = {
    "strokes": {"style_scale": 1.4},
    "glass": {"style_scale": 1.4},
    "ink": {"style_scale": 1.4, "start": "recoloured", "colours": "luminance"},
}
WIDTH = 380
GAP = 6
SHOWN = 1280
"""Width of the gallery in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="of SqueezeNet 1.0, by torchvision's names")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jpg")
    arguments = parser.parse_args()
    height = round(WIDTH / 1.32)
    styles = {name: tensor(make()) for name, make in PAINTINGS.items()}
    rows = [[torch.ones(1, 3, height, WIDTH), *(scaled(style[..., : round(640 / 1.32), :], height) for style in styles.values())]]
    for name, (down, across) in PHOTOGRAPHS.items():
        photo = scaled(photos.bundled_photo(name).image[..., down, across], height)
        rows.append([photo])
        for style, picture in styles.items():
            method = rk.registry().create(
                "restorer",
                "style/gatys",
                features={"part": "core/squeezenet", "weights": str(arguments.weights)},
                steps=arguments.steps,
                **OPTIONS[style],
            )
            rows[-1].append(method.restore(Degraded(photo, reference=picture)))
            print(name, style, flush=True)
    write(arguments.out, rows)


def tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255


def scaled(image: Tensor, height: int) -> Tensor:
    return F.interpolate(image, (height, WIDTH), mode="bicubic", antialias=True).clamp(0, 1)


def write(path: Path, rows: list[list[Tensor]]) -> None:
    """Rows of pictures, with white between, as a small JPEG."""
    framed = [torch.cat([F.pad(picture, (0, GAP, 0, GAP), value=1.0) for picture in row], 3) for row in rows]
    pixels = torch.cat(framed, 2)[0, :, :-GAP, :-GAP].permute(1, 2, 0).mul(255).round().byte().numpy()
    stream = io.BytesIO()
    small = Image.fromarray(pixels).resize((SHOWN, round(SHOWN * pixels.shape[0] / pixels.shape[1])), Image.Resampling.LANCZOS)
    small.save(stream, "JPEG", quality=83, optimize=True)
    path.write_bytes(stream.getvalue())
    print(f"{path}: {len(stream.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
