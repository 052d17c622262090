r"""How good the pictures are that a recipe learns to make: KID after a hundred steps and at the end, over a few seeds.

    python benchmarks/training/generation.py dcgan/faces28 --features ../shared/data/weights/squeezenet1_0.safetensors \
        --seeds 0 1 2 --out runs/faces28

Each seed is trained twice, for a hundred steps and to the end; recipes whose learning rate is constant take the same way to there.
A thousand made pictures are compared with a thousand training patches, in features of SqueezeNet; KID of the training patches with
others drawn from the same photographs says what is left to gain. A run has collapsed when the made pictures are less than half as
far apart as the real ones, or when the watch says so.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

import restorekit as rk
from restorekit import sampling
from restorekit.cli.common import parse_settings
from restorekit.engine import neighbours

COUNT = 1000
FIRST = 100


def scores(images: torch.Tensor, real: torch.Tensor, features: Path) -> dict[str, float]:
    """KID, precision, recall, the mean distance of pictures ``(n, C, H, W)``, and that of the real ones."""
    found = {}
    spec = {"part": "core/squeezenet", "weights": str(features)}
    metrics: dict[str, Any] = {
        name: rk.registry().create("set-metric", f"core/{name}", features=spec, layer="features.12", resize=96)
        for name in ("kid", "precision", "recall", "diversity")
    }
    first = metrics["kid"]
    for start in range(0, len(images), 100):
        some = slice(start, start + 100)
        first.update(images[some], real[some])
    for name, metric in metrics.items():
        metric._restored, metric._target = first._restored, first._target  # one pass of the network for all
        found[name] = metric.compute()
    metric._restored = first._target
    return {**found, "diversity of real": metric.compute()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--features", type=Path, required=True, help="weights of SqueezeNet (.safetensors)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    recipe = rk.recipe(arguments.recipe)
    for key, value in parse_settings(arguments.settings).items():
        recipe = recipe.set(key, value)
    print(
        "| seed | steps | minutes | of the processor | KID | precision | recall | diversity | of real | KID of real | the watch |",
        flush=True,
    )
    print("|" + "---|" * 11, flush=True)
    for seed in arguments.seeds:
        mine = recipe.set("train.seed", seed)
        for steps in (FIRST, int(mine.check().content["train"]["steps"])):
            folder = arguments.out / f"seed{seed}-step{steps}"
            wall, processor = time.perf_counter(), time.process_time()
            if (folder / "model.safetensors").is_file():
                model = rk.load(folder / "model.safetensors")
            else:
                model = rk.train(mine.set("train.steps", steps), out=folder, resume=(folder / "checkpoint.safetensors").is_file())
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            model.generator.eval()
            vectors = sampling.draw(model, list(range(1, COUNT + 1)), seed=0)
            made = sampling.make(model, vectors, sampling.labels(model, COUNT, None))
            patches = neighbours.trained_on(model, count=2 * COUNT)
            found = scores(made, patches[:COUNT], arguments.features)
            other = scores(patches[COUNT:], patches[:COUNT], arguments.features)
            events = "; ".join(model.provenance.get("watch", [])) or "–"
            cells = [f"{found[name]:.4g}" for name in ("kid", "precision", "recall", "diversity")]
            times = f"{wall / 60:.1f} | {processor / 60:.1f}"
            print(
                f"| {seed} | {steps} | {times} | {' | '.join(cells)} | {found['diversity of real']:.4g} | {other['kid']:.2g} | {events} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
