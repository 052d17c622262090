"""Three style pictures made by rule, so that they may go anywhere: brush strokes in a flow, stained glass, and ink on paper.

python benchmarks/style/paintings.py --out /tmp/paintings
python benchmarks/style/paintings.py --out /tmp/paintings --colours      # each in six, to train `style/adain` with
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage, spatial

SIDE = 640
DRAWN = 2
"""Lines are drawn so many times larger and then shrunk, which smooths their edges."""


def smooth(rng: np.random.Generator, side: int, sigma: float) -> np.ndarray:
    """A smooth random field of mean 0 and deviation 1."""
    field = ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma, mode="wrap")
    return (field - field.mean()) / field.std()


def strokes() -> Image.Image:
    """Short, thick strokes of a bristle brush that follow whirls, in blues with yellow lights."""
    rng = np.random.default_rng(1)
    side = SIDE * DRAWN
    potential = smooth(rng, side, 85) + 0.25 * smooth(rng, side, 34)
    down, across = np.gradient(potential)
    light = smooth(rng, side, 70)
    palette = np.array([[16, 28, 78], [28, 62, 140], [52, 108, 178], [120, 172, 206], [236, 206, 96], [250, 236, 170]], float)
    canvas = Image.new("RGB", (side, side), (24, 46, 108))
    draw = ImageDraw.Draw(canvas)
    for _ in range(11000):
        y, x = rng.uniform(0, side, 2)
        tone = np.clip(2.1 + 1.25 * light[int(y), int(x)] + rng.normal(0, 0.55), 0, len(palette) - 1.001)
        low, share = int(tone), tone % 1
        colour = palette[low] * (1 - share) + palette[low + 1] * share
        points = []
        for _ in range(int(rng.integers(9, 18))):
            points.append((x, y))
            gy, gx = down[int(y) % side, int(x) % side], across[int(y) % side, int(x) % side]
            length = np.hypot(gx, gy) + 1e-9
            x, y = x + 6 * gy / length, y - 6 * gx / length
        bristles = 6
        for b in range(bristles):
            shade = tuple(int(v) for v in np.clip(colour + rng.normal(0, 17), 0, 255))
            offset = (b - (bristles - 1) / 2) * 3.4
            turned = [(px + offset * 0.7, py + offset * 0.7) for px, py in points]
            draw.line(turned, fill=shade, width=4, joint="curve")
    return canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def glass() -> Image.Image:
    """Pieces of coloured glass with streaks inside, set in dark lead."""
    rng = np.random.default_rng(2)
    side = SIDE * DRAWN
    points = rng.uniform(0, side, (330, 2))
    for _ in range(2):  # evens out the sizes
        tree = spatial.cKDTree(points)
        grid = np.stack(np.meshgrid(np.arange(0, side, 8), np.arange(0, side, 8), indexing="ij"), -1).reshape(-1, 2)
        owner = tree.query(grid)[1]
        points = np.stack([grid[owner == i].mean(0) if (owner == i).any() else points[i] for i in range(len(points))])
    rows, columns = np.mgrid[:side, :side]
    bend = 10 * np.stack([smooth(rng, side, 40), smooth(rng, side, 40)], -1)
    distances, nearest = spatial.cKDTree(points).query(np.stack([rows, columns], -1) + bend, k=2)
    palette = np.array(
        [[178, 24, 38], [226, 92, 30], [244, 178, 44], [30, 110, 64], [22, 74, 150], [66, 36, 118], [120, 190, 200], [240, 226, 190]], float
    )
    chosen = palette[rng.choice(len(palette), len(points), p=[0.18, 0.12, 0.14, 0.12, 0.18, 0.08, 0.1, 0.08])]
    streaks = ndimage.gaussian_filter(rng.standard_normal((side, side)), (3, 24), mode="wrap")
    glow = 1 + 0.13 * streaks / streaks.std() + 0.1 * smooth(rng, side, 60)
    image = chosen[nearest[..., 0]] * glow[..., None]
    lead = np.clip((9 - (distances[..., 1] - distances[..., 0])) / 3, 0, 1)[..., None]
    image = image * (1 - lead) + np.array([22, 20, 24]) * lead
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def ink() -> Image.Image:
    """Hatching with a pen on cream paper: the darker, the more directions."""
    rng = np.random.default_rng(3)
    side = SIDE * DRAWN
    dark = np.clip(0.5 + 0.42 * smooth(rng, side, 75), 0, 1)
    paper = np.array([238, 226, 200]) + 5 * smooth(rng, side, 2)[..., None]
    canvas = Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for layer, angle in enumerate(np.deg2rad([38, 128, 80, 8])):
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        for offset in np.arange(-side, side, 11):
            start = np.array([side, side]) / 2 + across * (offset + rng.normal(0, 1.2)) - along * side
            pen: list[tuple[float, float]] = []
            for reach in range(0, 2 * side, 12):
                x, y = start + along * reach + across * 1.6 * np.sin(reach / 70 + offset)
                inside = 0 <= x < side and 0 <= y < side
                if inside and dark[int(y), int(x)] > 0.2 + 0.19 * layer + rng.normal(0, 0.035):
                    pen.append((x, y))
                    continue
                if len(pen) > 1:
                    draw.line(pen, fill=(34, 30, 46), width=int(rng.integers(3, 5)), joint="curve")
                pen = []
    return canvas.filter(ImageFilter.GaussianBlur(0.6)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


PAINTINGS = {"strokes": strokes, "glass": glass, "ink": ink}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--colours", action="store_true", help="red, green and blue in every order")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, make in PAINTINGS.items():
        picture = make()
        for order in list(itertools.permutations("RGB"))[: None if arguments.colours else 1]:
            file = arguments.out / f"{name}{'-' + ''.join(order).lower() if arguments.colours else ''}.png"
            Image.merge("RGB", [picture.getchannel(channel) for channel in order]).save(file)
            print(file)


if __name__ == "__main__":
    main()
