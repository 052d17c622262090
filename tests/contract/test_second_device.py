"""Every part, and training, on a second device in place of a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils import backend_registration

import restorekit as rk

SCRIPT = Path(__file__).with_name("second_device.py")
FAKE = Path(__file__).parents[1] / "fake_plugins" / "misplaced"
INSTALLED = sorted({plugin.namespace for plugin in rk.registry().plugins})

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"), reason="this torch cannot be given a device in Python"
)


DATA = {"train": "bundled", "crop": 32, "batch": 4, "validation_images": 1, "workers": 0}
TRAIN = {"steps": 3, "validate_every": 2, "watch_every": 1, "precision": "fp32"}
RECIPES: dict[str, dict[str, Any]] = {
    "deblur": {
        "recipe": 1,
        "task": "deblur",
        "degradation": [{"part": "core/camera-shake", "length": [3, 7]}, {"part": "core/gaussian-noise", "sigma": 0.01}],
        "generator": {"part": "deblurgan/resnet9", "blocks": 1, "width": 4, "dropout": 0},
        "critic": {"part": "deblurgan/patch70", "width": 4},
        "adversarial": {"part": "core/wgan-gp", "weight": 0.01},
        "losses": [{"part": "core/charbonnier"}, {"part": "core/ssim", "weight": 0.1}],
        "data": DATA,
        "train": {**TRAIN, "ema": 0.9, "critic_steps": 2, "clip_gradient": 1.0, "micro_batches": 2},
    },
    "generate": {
        "recipe": 1,
        "task": "generate",
        "generator": {"part": "dcgan/generator", "size": 32, "width": 4, "latent": 8},
        "critic": {"part": "dcgan/critic", "size": 32, "width": 4, "deviation": True},
        "adversarial": {"part": "core/non-saturating", "weight": 1.0},
        "data": DATA,
        "train": {**TRAIN, "augment": ["colour", "translation", "cutout"], "augment_probability": "adaptive"},
    },
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script prints."""
    folder = tmp_path_factory.mktemp("second-device")
    (folder / "recipes.json").write_text(json.dumps(RECIPES))
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(folder / "recipes.json"), str(folder), "misplaced", *INSTALLED]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FAKE), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_every_part_that_is_installed_works_there(found: dict[str, Any]) -> None:
    ours = [result for result in found["results"] if not result["part"].startswith("misplaced/")]
    parts = {(part.kind, part.name) for part in rk.registry().parts if part.kind not in ("recipe", "suite")}
    assert {(result["kind"], result["part"]) for result in ours} == parts
    assert [result for result in ours if result["status"] != "passed"] == []


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ("keeps-a-tensor", "expected all tensors on the same device"),
        ("makes-a-tensor", "expected all tensors on the same device"),
        ("computes-in-numpy", ".numpy() is not supported"),
        ("depends-on-the-device", "differs by 0.1 of its largest value"),
        ("returns-to-the-processor", "scores is on cpu"),
        ("draws-there", "image differs by"),
        ("draws-here", "expected a generator of elsewhere"),
    ],
)
def test_a_part_that_works_on_the_processor_alone_is_found(part: str, seen: str, found: dict[str, Any]) -> None:
    (result,) = [result for result in found["results"] if result["part"] == f"misplaced/{part}"]
    assert result["status"] == "failed"
    assert seen in result["seen"]
    assert result["fix"]


@pytest.mark.parametrize("name", RECIPES)
def test_training_there_is_training_here(name: str, found: dict[str, Any]) -> None:
    assert len(found["there"][name]) == len(found["here"][name]) == TRAIN["steps"]
    for here, there in zip(found["here"][name], found["there"][name], strict=True):
        assert there == pytest.approx(here, rel=1e-4, abs=1e-6)
