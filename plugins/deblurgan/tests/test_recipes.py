"""Every recipe of the plugin is whole, and trains a real step on bundled photographs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import restorekit as rk

RECIPES = [part.name for part in rk.registry().of_kind("recipe") if part.namespace == "deblurgan"]

V2 = {
    "generator.weights": "random",
    "generator.width": 8,
    "critic.width": 4,
    "losses.1.features.weights": "random",
    "train.freeze.trunk": 1,
}

SMALL = {
    "deblurgan/v1": {
        "generator.width": 8,
        "generator.blocks": 1,
        "critic.width": 8,
        "losses.0.features.weights": "random",
        "data.crop": 64,
    },
    "deblurgan/keras": {
        "generator.width": 4,
        "generator.blocks": 1,
        "critic.size": 64,
        "critic.width": 4,
        "critic.hidden": 8,
        "losses.0.features.weights": "random",
        "data.crop": 64,
        "data.batch": 2,
    },
    "deblurgan/unet": {"generator.width": 4, "generator.levels": 6, "critic.width": 4, "data.crop": 64},
    "deblurgan/v2-mobilenet": V2 | {"data.crop": 96},
    "deblurgan/v2-inception": V2 | {"data.crop": 96, "generator.taps": "timm", "generator.backbone": "test_efficientnet"},
    "deblurgan/gated": {"generator.width": 4, "generator.blocks": [1], "generator.decoder": [1], "data.crop": 32},
    "deblurgan/default": {"generator.width": 8, "data.crop": 64, "data.batch": 2},
    "deblurgan/shipped": {"generator.width": 8, "data.crop": 64, "data.batch": 2},
    "deblurgan/finetune": {"generator.width": 8, "data.crop": 64},
    "deblurgan/denoise": {"generator.width": 8, "data.crop": 32},
}
"""Settings that make one step quick; a recipe that is not here runs as it is."""


@pytest.mark.parametrize("name", RECIPES)
def test_trains_a_step(name: str, tmp_path: Path) -> None:
    _train_a_step(name, SMALL.get(name, {}), tmp_path)


@pytest.mark.slow
def test_trains_a_step_over_inception(tmp_path: Path) -> None:
    """Its backbone has 26 million weights, which take ten seconds to train a step and to write."""
    _train_a_step("deblurgan/v2-inception", V2 | {"data.crop": 128}, tmp_path)


def _train_a_step(name: str, settings: dict[str, object], out: Path) -> None:
    recipe = rk.recipe(name).set("data.train", "bundled").set("data.validation_images", 1).set("train.steps", 1)
    for key, value in settings.items():
        recipe = recipe.set(key, value)
    model = rk.train(recipe, out=out, device="cpu")
    assert math.isfinite(model.scores["PSNR"])
    assert rk.load(out / "model.safetensors").recipe.hash == model.recipe.hash
