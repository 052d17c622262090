"""Training that starts from a model: `init`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import restorekit as rk
from restorekit.engine.callbacks import Callback, history
from restorekit.errors import TrainingError

RECIPE: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "degradation": [{"part": "core/camera-shake", "length": [3, 7]}, {"part": "core/gaussian-noise", "sigma": 0.01}],
    "generator": {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1},
    "losses": [{"part": "core/charbonnier"}],
    "data": {"train": "bundled", "crop": 32, "batch": 2, "validation_images": 1},
    "train": {"steps": 4, "precision": "fp32", "checkpoint_every": 2, "ema": 0.9},
}


class Interrupted(Callback):
    """Ends a run after a step."""

    def __init__(self, step: int) -> None:
        self.last = step

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        if step == self.last:
            raise TrainingError("interrupted")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    rk.train(rk.recipe(RECIPE), out=folder, device="cpu")
    return folder / "model.safetensors"


def test_it_is_validated_before_the_first_step_and_says_what_it_started_from(first: Path, tmp_path: Path) -> None:
    trained = rk.load(first)
    made = rk.train(rk.recipe(RECIPE), out=tmp_path, init=first, device="cpu")
    assert made.provenance["started from"] == first.name
    assert made.provenance["scores before"] == pytest.approx(dict(trained.scores), abs=1e-4)
    assert made.scores["PSNR"] != trained.scores["PSNR"]
    start = history(tmp_path / "history.jsonl")[0]
    assert (start["step"], start["scores"]) == (0, made.provenance["scores before"])


def test_a_run_without_it_says_nothing_of_before(first: Path) -> None:
    assert "scores before" not in rk.load(first).provenance
    assert all(entry["step"] for entry in history(first.with_name("history.jsonl")))


def test_a_resumed_run_still_knows_what_was_before(first: Path, tmp_path: Path) -> None:
    whole = rk.train(rk.recipe(RECIPE), out=tmp_path / "whole", init=first, device="cpu")
    with pytest.raises(TrainingError, match="interrupted"):
        rk.train(rk.recipe(RECIPE), out=tmp_path / "parts", init=first, device="cpu", callbacks=[Interrupted(3)])
    resumed = rk.train(rk.recipe(RECIPE), out=tmp_path / "parts", resume=True, device="cpu")
    assert resumed.provenance["scores before"] == whole.provenance["scores before"]
    assert all(torch.equal(a, b) for a, b in zip(resumed.generator.parameters(), whole.generator.parameters(), strict=True))


def test_every_tensor_that_does_not_fit_is_listed(first: Path) -> None:
    wider = rk.recipe(RECIPE).set("generator.width", 12)
    with pytest.raises(TrainingError) as caught:
        rk.train(wider, init=first, device="cpu")
    wanted = rk.load(first).generator.state_dict()
    changed = [name for name, value in wanted.items() if value.ndim and 8 in value.shape]
    assert all(name in str(caught.value) for name in changed)
    assert "generator.width=8 (here 12)" in str(caught.value)


def test_tensors_that_only_one_side_has_are_listed_too(first: Path) -> None:
    with pytest.raises(TrainingError, match="is not in the model") as caught:
        rk.train(rk.recipe(RECIPE).set("generator.middle", 2), init=first, device="cpu")
    assert "generator.middle=1 (here 2)" in str(caught.value)
