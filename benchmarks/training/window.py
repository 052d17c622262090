"""What a window of the channel attention buys a trained `deblurgan/gated`: CBSD68 restored whole, with and without.

    python benchmarks/training/window.py model.safetensors --data ../shared/data --windows 96 192

The network was trained on patches and meets larger images here. Beside the gain in dB the table says how far the result for
a crop of a photograph, as large as a training patch, is from the same place in the result for the whole, which is 0 for a
network that treats both alike, and how much processor time a window costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from PIL import Image
from timed import gain
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

import restorekit as rk


def windowed(model: rk.Model, window: int | None) -> rk.Model:
    """The same weights with another window."""
    options = {**model.recipe.content["generator"], "window": window}
    generator = rk.registry().create("generator", options.pop("part"), **options)
    generator.load_state_dict(model.generator.state_dict())
    return rk.Model(generator.eval(), model.recipe)


def apart(model: rk.Model, image: Tensor, crop: int) -> float:
    """Root of the mean squared difference of a crop's result and the whole's there, in grey levels, away from the crop's border."""
    top, left = ((side - crop) // 2 // 16 * 16 for side in image.shape[-2:])
    inside = (..., slice(crop // 4, -crop // 4), slice(crop // 4, -crop // 4))
    cut = (..., slice(top, top + crop), slice(left, left + crop))
    return float((model.restore(image)[cut][inside] - model.restore(image[cut])[inside]).square().mean().sqrt()) * 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with cbsd68")
    parser.add_argument("--windows", type=int, nargs="+", required=True, help="in pixels of the image")
    parser.add_argument("--limit", type=int, help="pictures that are scored, to try the script out")
    arguments = parser.parse_args()
    model = rk.load(arguments.model)
    crop = model.recipe.content["data"]["crop"]
    files = sorted((arguments.data / "cbsd68").glob("*.png"))[: arguments.limit]
    images = [pil_to_tensor(Image.open(file).convert("RGB"))[None] / 255 for file in files]
    print(
        f"trained on {crop}×{crop}\n\n| window | gain, dB | crop from whole, grey levels | processor seconds an image |\n|---|---|---|---|"
    )
    for window in (None, *arguments.windows):
        candidate = windowed(model, window)
        before, after = gain(candidate, arguments.data, arguments.limit)
        used = time.process_time()
        with torch.no_grad():
            for image in images:
                candidate.restore(image)
        used = (time.process_time() - used) / len(images)
        distance = statistics.mean(apart(candidate, image, crop) for image in images)
        print(f"| {window or 'whole image'} | {after - before:+.3f} | {distance:.2f} | {used:.2f} |", flush=True)


if __name__ == "__main__":
    main()
