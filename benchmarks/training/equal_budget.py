r"""What the recipes of the DeblurGAN family gain on CBSD68 when each may train for the same time, on the same photographs.

    python benchmarks/training/equal_budget.py --data ../shared/data --minutes 20 --out runs/equal-budget
    python benchmarks/training/equal_budget.py --data ../shared/data --minutes 20 --out runs/equal-budget --only v1 unet

All train on bsd400 with seed 0 and the blur and noise that they are scored with. Where their papers take features of VGG-19 or
VGG-16, trained on ImageNet, they get those of SqueezeNet in weights/, scaled so that a blurred photograph is about 1 from the
sharp one, which leaves the other terms a say; backbones start from random weights, and so none is frozen. Otherwise each
recipe is as it is, but for `keras`, whose batches of 16 would leave it a dozen steps: it gets 2.

How many steps fit is found by trying, once for each, with the machine as it is then. What is done is kept in the folder:
the same command goes on where it was stopped. In the end all are scored on CBSD68 (`--limit` pictures of it), a table is
printed, and `side-by-side.png` and `scores/leaderboard.html` show pictures.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from timed import SHAKE, SUITE, steps_within

import restorekit as rk
from restorekit import modelfile
from restorekit.bench import pictures
from restorekit.recipes import Recipe

DAMAGE = [{"part": "core/camera-shake", "length": [5, 22]}, {"part": "core/gaussian-noise", "sigma": 0.01}]
IDENTITY = "core/identity"
MAPS = 1e-4
"""Weight of SqueezeNet's maps, which are so large that blurred photographs are 1.3e4 from sharp ones: mean of 40 of bsd400."""

SIDE = 160
SHOWN = 4


def squeezenet(data: Path, loss: int) -> dict[str, Any]:
    features = {"part": "core/squeezenet", "weights": str(data / "weights" / "squeezenet1_0.safetensors")}
    return {f"losses.{loss}.features": features, f"losses.{loss}.layers": ["features.5"], f"losses.{loss}.layer_weights": [MAPS]}


def networks(data: Path) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Recipes and what is set in them."""
    return {
        "v1": ("deblurgan/v1", squeezenet(data, 0)),
        "keras": ("deblurgan/keras", {**squeezenet(data, 0), "data.batch": 2}),
        "unet": ("deblurgan/unet", {}),
        "v2-mobilenet": ("deblurgan/v2-mobilenet", {**squeezenet(data, 1), "generator.weights": "random", "train.freeze": None}),
        "compact": ("deblurgan/default", {"generator": {"part": "deblurgan/compact"}, "data.crop": 128, "data.batch": 8}),
        "compact-psf": ("deblurgan/default", {}),
    }


def recipe_of(name: str, data: Path) -> Recipe:
    registered, settings = networks(data)[name]
    recipe = rk.recipe(registered).set("degradation", DAMAGE).set("data.train", str(data / "bsd400")).set("train.seed", 0)
    recipe = recipe.set("data.validation", str(data / "cbsd68")).set("data.validation_images", 2)
    for key, value in settings.items():
        recipe = recipe.set(key, value)
    return recipe


def trained(name: str, data: Path, minutes: float, out: Path) -> Path:
    """The model file, trained if it is not there yet, from the last checkpoint if there is one."""
    model, folder = out / "models" / f"{name}.safetensors", out / name
    if model.exists():
        return model
    noted = out / f"{name}.json"
    if not noted.exists():
        out.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps({"steps": steps_within(recipe_of(name, data).check(), minutes), "minutes": minutes}))
    steps = json.loads(noted.read_text())["steps"]
    recipe = recipe_of(name, data).set("train.steps", steps).set("train.validate_every", steps)
    recipe = recipe.set("train.checkpoint_every", max(1, steps // 20))
    print(f"{name}: {steps} steps", flush=True)
    rk.train(recipe, out=folder, resume=any(folder.glob("checkpoint*.safetensors")), progress=True)
    model.parent.mkdir(exist_ok=True)
    shutil.copy(folder / "model.safetensors", model)
    return model


def table(out: Path, scores: Path, names: list[str]) -> str:
    rows = [row for row in rk.bench.rows(scores) if row["metric"] == "core/psnr" and row["degradation"] == SHAKE]
    decibels = {
        method: sum(row["value"] for row in rows if row["method"] == method) / sum(row["method"] == method for row in rows)
        for method in {row["method"] for row in rows}
    }
    before = decibels[IDENTITY]
    lines = [f"| blurred | | | {before:.2f} | |"]
    for name in names:
        header = modelfile.read_header(out / "models" / f"{name}.safetensors")
        steps, after = header.recipe.content["train"]["steps"], decibels[name]
        lines.append(f"| {name} | {header.parameters / 1e6:.2f} | {steps} | {after:.2f} | {after - before:+.2f} |")
    return "\n".join(["| | parameters, M | steps | PSNR, dB | gain, dB |", "|---|---|---|---|---|", *lines])


def side_by_side(scores: Path, names: list[str], file: Path) -> None:
    """Details of some pictures: blurred, as each has restored them, and sharp."""
    images = sorted({row["image"] for row in rk.bench.rows(scores)})
    chosen = images[:: max(1, len(images) // SHOWN)][:SHOWN]
    columns = {"blurred": IDENTITY, **{name: name for name in names}, "sharp": pictures.TARGET}
    sheet = Image.new("RGB", (len(columns) * SIDE, len(chosen) * SIDE + 16), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, (title, method) in enumerate(columns.items()):
        pen.text((column * SIDE + 4, 1), title, "black", font)
        for row, image in enumerate(chosen):
            with Image.open(pictures.path(scores, method, image, "" if method == pictures.TARGET else SHAKE)) as opened:
                left, top = (opened.width - SIDE) // 2, (opened.height - SIDE) // 2
                sheet.paste(opened.convert("RGB").crop((left, top, left + SIDE, top + SIDE)), (column * SIDE, row * SIDE + 16))
    sheet.save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bsd400, cbsd68 and weights")
    parser.add_argument("--minutes", type=float, default=20, help="of training, for each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(networks(Path())), help=f"of {', '.join(networks(Path()))}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="pictures that are scored, to try the script out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = [name for name in networks(Path()) if arguments.only is None or name in arguments.only]
    models = [trained(name, arguments.data, arguments.minutes, arguments.out) for name in names]
    scores = arguments.out / ("scores" if arguments.limit is None else f"scores-{arguments.limit}")
    rk.bench.run_suite(SUITE, [str(model) for model in models], scores, data=arguments.data, limit=arguments.limit, progress=True)
    print(f"{arguments.minutes:g} minutes each\n\n{table(arguments.out, scores, names)}")
    side_by_side(scores, names, arguments.out / "side-by-side.png")


if __name__ == "__main__":
    main()
