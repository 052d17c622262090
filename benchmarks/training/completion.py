r"""Completion of a quarter of held-out pictures, a hole in the middle: PSNR inside the hole beside biharmonic inpainting, and a picture.

    python benchmarks/training/completion.py faces.safetensors --pictures bundled-faces-heldout --out faces-completed.png
    python benchmarks/training/completion.py textures.safetensors --pictures bundled-textures-heldout --out textures-completed.png

The first sixteen pictures (of a texture, patches of the generator's size) are filled in one batch. The sheet has a row for each of:
what was given, biharmonic, completion, the truth.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

import restorekit as rk
from restorekit import config, photos, restoration, seeding
from restorekit.cli.common import parse_settings
from restorekit.engine.data import PatchSource
from restorekit.engine.sources import open_sources
from restorekit.images import Degraded
from restorekit.interfaces import Restorer
from restorekit.sampling import sheet
from restorekit.settings import DataSettings

COUNT = 16


def held_out(model: rk.Model, pictures: str) -> Tensor:
    """Pictures ``(16, C, H, W)`` as the model was trained on, of others than it was trained on."""
    changed = {"train": pictures, "validation": pictures, "flips": False, "workers": 0, "batch": COUNT}
    content = {**model.recipe.content["data"], **changed}
    checked, problems = config.check(DataSettings, content, registry=rk.registry(), where="data", owner="data")
    if problems:
        raise rk.UserError("\n".join(problems))
    settings = config.construct(DataSettings, checked, registry=rk.registry(), where="data")
    sources = open_sources(settings, generator=model.generator, degradation=None, seed=0, device=torch.device("cpu"))
    assert isinstance(sources.patches, PatchSource)
    return sources.patches.batch(0).sharp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", required=True, help="folder, or bundled-faces-heldout and the like")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="options of dcgan/completion")
    arguments = parser.parse_args()
    truth = held_out(rk.load(arguments.model), arguments.pictures)
    mask = rk.registry().create("degradation", "core/mask", shape="centre", share=0.25)
    damaged = mask.apply(truth, mask.sample(len(truth), tuple(truth.shape[1:]), seeding.generator("completion")))
    assert damaged.mask is not None
    options = parse_settings(arguments.settings)
    methods: dict[str, Restorer] = {
        "core/identity": rk.registry().create("restorer", "core/identity"),
        "core/biharmonic-inpaint": rk.registry().create("restorer", "core/biharmonic-inpaint"),
        "dcgan/completion": rk.registry().create("restorer", "dcgan/completion", model=str(arguments.model), **options),
    }
    print(f"{len(truth)} pictures of {truth.shape[-1]}×{truth.shape[-2]}, {float(damaged.mask.mean()):.0%} missing\n")
    print("| | PSNR in the hole, dB | least | most | seconds, wall | of the processor |\n|---|---|---|---|---|---|")
    rows = []
    for name, method in methods.items():
        wall, processor = time.perf_counter(), time.process_time()
        filled = restoration.restore(method, damaged, name=name)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"| {name} | {' | '.join(psnr_in_the_hole(filled, truth, damaged))} | {wall:.1f} | {processor:.1f} |", flush=True)
        rows.append(filled)
    photos.write(arguments.out, sheet(torch.cat([*rows, truth]), columns=len(truth)))


def psnr_in_the_hole(filled: Tensor, truth: Tensor, damaged: Degraded) -> list[str]:
    """Mean over pictures, least and most, of 8-bit levels."""
    assert damaged.mask is not None
    inside = damaged.mask.expand_as(truth)
    levels = [image.mul(255).round() for image in (filled, truth)]
    errors = ((levels[0] - levels[1]).square() * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))
    scores = 10 * torch.log10(255**2 / errors)
    return [f"{float(value):.2f}" for value in (scores.mean(), scores.min(), scores.max())]


if __name__ == "__main__":
    main()
