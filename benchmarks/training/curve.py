r"""What a recipe gains on CBSD68 with the minutes that it is trained.

    python benchmarks/training/curve.py deblurgan/default --data ../shared/data --minutes 60
    python benchmarks/training/curve.py deblurgan/v1 --data ../shared/data --minutes 60 \
        --set losses.0.features.part=core/squeezenet \
        --set losses.0.features.weights=../shared/data/weights/squeezenet1_0.safetensors --set losses.0.layers=[features.5]

The number of steps follows from their speed on this machine. At each of ten points of the way the moving average is
scored on the first sixteen pictures, which takes no training time; the result is scored on all 68.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from timed import Clock, gain, steps_within

import restorekit as rk
from restorekit.cli.common import parse_settings

POINTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True, help="folder with bsd400 and cbsd68")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="folder for the run")
    parser.add_argument("--limit", type=int, help="pictures that are scored, to try the script out")
    arguments = parser.parse_args()
    recipe = rk.recipe(arguments.recipe).set("data.train", str(arguments.data / "bsd400"))
    recipe = recipe.set("data.validation", str(arguments.data / "cbsd68"))
    for key, value in parse_settings(arguments.settings).items():
        recipe = recipe.set(key, value)
    steps = steps_within(recipe.check(), arguments.minutes)
    recipe = recipe.set("train.steps", steps).set("train.validate_every", max(1, steps // POINTS))
    clock = Clock()
    model = rk.train(recipe, out=arguments.out, progress=True, callbacks=[clock])
    print(f"{arguments.recipe}, {steps} steps\n\n| minutes | steps | PSNR of 16, dB | gain, dB |\n|---|---|---|---|")
    for step, minutes, scores in clock.points:
        print(f"| {minutes:.1f} | {step} | {scores['PSNR']:.2f} | {scores['PSNR'] - scores['PSNR of input']:+.2f} |")
    before, after = gain(model, arguments.data, arguments.limit)
    print(f"\nCBSD68: {before:.2f} dB before, {after:.2f} dB after, {after - before:+.2f} dB")


if __name__ == "__main__":
    main()
