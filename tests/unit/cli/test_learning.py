"""``train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restorekit import recipes
from restorekit.errors import Stopped
from restorekit.modelfile import Model
from restorekit.registries import Registry

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""


def test_a_recipe_with_three_mistakes_shows_all_three(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "recipe: 1\ngenrator: {}\ngenerator: {part: deblurgan/compact, widht: 8}\nlosses: [{part: core/l7}]\ntrain: {steps: 0}\n"
    )
    shown = run("train", file, "--data", tmp_path, "--out", tmp_path / "run")
    assert shown.code == 2
    for words in ("genrator", "widht", "core/l7", "train.steps"):
        assert words in shown.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("source", "name"), [("file", "my-recipe"), ("dcgan/photos64", "dcgan-photos64")])
def test_train_hands_the_whole_recipe_over(
    source: str, name: str, run: Run, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def train(recipe: recipes.Recipe, **more: Any) -> Model:
        seen.update(more, recipe=recipe.content)
        return Model(
            registry.create("generator", "deblurgan/compact", width=8, blocks=[1, 1], middle=1), recipe, scores={"core/psnr": 30.0}
        )

    from restorekit import engine

    monkeypatch.setattr(engine, "train", train)
    monkeypatch.chdir(tmp_path)
    if source == "file":
        (tmp_path / "my-recipe.yaml").write_text("{recipe: 1, generator: deblurgan/compact, losses: [core/l1, core/l2], data: {train: x}}")
        source = "my-recipe.yaml"
    shown = run("train", source, "--data", "pictures", "--val", "more", "--set", "train.steps=7", "--device", "cpu", "--resume", "--json")
    assert shown.code == 0, shown.err
    assert shown.json["model"] == f"runs/{name}/model.safetensors"
    assert shown.json["scores"] == {"core/psnr": 30.0}
    assert (seen["out"], seen["resume"], seen["device"]) == (Path("runs") / name, True, "cpu")
    assert seen["recipe"]["data"]["train"] == "pictures"
    assert seen["recipe"]["data"]["validation"] == "more"
    assert seen["recipe"]["train"]["steps"] == 7
    assert "--with" in run("train", source, "--data", "pictures").out


def test_training_that_was_stopped_is_no_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from restorekit import engine

    def train(recipe: recipes.Recipe, **more: Any) -> Model:
        raise Stopped("stopped after 4 of 6 steps")

    monkeypatch.setattr(engine, "train", train)
    shown = run("train", "dcgan/photos64")
    assert shown.code == 130
    assert shown.err == "stopped after 4 of 6 steps\n"


def test_a_dry_run_of_a_generator_speaks_of_no_validation(run: Run) -> None:
    small = ["generator.size=28", "critic.size=28", "data.crop=28", "generator.width=4", "critic.width=4", "data.batch=2"]
    shown = run("train", "dcgan/photos64", "--dry-run", *(word for setting in small for word in ("--set", setting)))
    assert shown.code == 0, shown.err
    assert "valida" not in shown.out
    assert "s to show what it makes" in shown.out


def test_two_answers_to_one_question_are_refused(run: Run) -> None:
    shown = run("train", "dcgan/photos64", "--data", "a", "--set", "data.train=b")
    assert shown.code == 2
    assert "data.train" in shown.err
