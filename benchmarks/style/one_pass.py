"""The pictures of one-pass painting in the style plugin's README: two photographs as trained models paint them.

    python benchmarks/style/one_pass.py --fast runs/fast/model.safetensors --any runs/any/model.safetensors --out plugins/style/one-pass.jpg

`--fast` is of `style/fast`, trained for the three style pictures of paintings.py in their order (`generator.styles=3`); `--any` of
`style/adain`, to which the last style, a stained section of tissue from scikit-image, is new.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import skimage.data
import torch
from gallery import PHOTOGRAPHS, WIDTH, scaled, tensor, write
from paintings import PAINTINGS
from PIL import Image

import restorekit as rk
from restorekit import photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", type=Path, required=True, metavar="MODEL")
    parser.add_argument("--any", type=Path, required=True, metavar="MODEL")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jpg")
    arguments = parser.parse_args()
    height = round(WIDTH / 1.32)
    fast, any_style = rk.load(arguments.fast), rk.load(arguments.any)
    styles = [tensor(make()) for make in PAINTINGS.values()]
    new = tensor(Image.fromarray(skimage.data.immunohistochemistry()))
    blank = torch.ones(1, 3, height, WIDTH)
    rows = [[blank, *(scaled(style[..., : round(style.shape[-1] / 1.32), :], height) for style in (*styles, new))]]
    for name, (down, across) in PHOTOGRAPHS.items():
        photo = scaled(photos.bundled_photo(name).image[..., down, across], height)
        rows.append([photo, *(fast.restore(photo, given=torch.tensor([number])) for number in range(len(styles))), blank])
        rows.append([photo, *(any_style.restore(photo, given=style) for style in (*styles, new))])
    write(arguments.out, rows)


if __name__ == "__main__":
    main()
