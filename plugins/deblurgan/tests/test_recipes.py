"""Every recipe of the plugin is whole, and trains a real step on bundled photographs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import restorekit as rk

RECIPES = [part.name for part in rk.registry().of_kind("recipe") if part.namespace == "deblurgan"]

SMALL = {
    "deblurgan/v1": {
        "generator.width": 8,
        "generator.blocks": 1,
        "critic.width": 8,
        "losses.0.features.weights": "random",
        "data.crop": 64,
    },
    "deblurgan/default": {"generator.width": 8, "data.crop": 64, "data.batch": 2},
    "deblurgan/finetune": {"generator.width": 8, "data.crop": 64},
    "deblurgan/denoise": {"generator.width": 8, "data.crop": 32},
}
"""Settings that make one step quick; a recipe that is not here runs as it is."""


@pytest.mark.parametrize("name", RECIPES)
def test_trains_a_step(name: str, tmp_path: Path) -> None:
    recipe = rk.recipe(name).set("data.train", "bundled").set("data.validation_images", 1).set("train.steps", 1)
    for key, value in SMALL.get(name, {}).items():
        recipe = recipe.set(key, value)
    model = rk.train(recipe, out=tmp_path, device="cpu")
    assert math.isfinite(model.scores["PSNR"])
    assert rk.load(tmp_path / "model.safetensors").recipe.hash == model.recipe.hash
