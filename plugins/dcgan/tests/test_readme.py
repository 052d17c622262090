"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import restorekit as rk
from restorekit.cli import main
from restorekit.cli.common import parse_settings

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_makes_what_the_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = rk.recipe("dcgan/faces28").set("generator.width", 2).set("critic.width", 2).check()
    spec = dict(recipe.content["generator"])
    generator = rk.registry().create("generator", spec.pop("part"), **spec).eval()
    (tmp_path / "runs/faces").mkdir(parents=True)
    rk.Model(generator, recipe).save(tmp_path / "runs/faces/model.safetensors")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    pictures = names["pictures"]
    assert tuple(pictures.shape) == (4, 1, 28, 28)
    assert main(["sample", "runs/faces/model.safetensors", "--seed", "1", "-n", "4", "--truncation", "0.7", "-o", "made"]) == 0
    for i, picture in enumerate(pictures, 1):
        written = np.asarray(Image.open(f"made/{i:06}.png")) / 255
        np.testing.assert_allclose(written, picture[0].numpy(), atol=1 / 255)


def test_the_commands_name_a_recipe_and_keys_that_exist() -> None:
    commands = re.findall(r"restorekit train (\S+)(.*)", TEXT)
    assert len(commands) == 5
    for name, rest in commands:
        recipe = rk.recipe(name)
        for key, value in parse_settings(re.findall(r"--set (\S+)", rest)).items():
            recipe = recipe.set(key, value)
        content = recipe.check().content
        assert content["generator"]["size"] == content["critic"]["size"] == content["data"]["crop"]


def test_the_remedies_are_settings() -> None:
    lines = re.findall(
        r"^\| (?!Remedy)[\w -]+ \| (.*) \|$", TEXT.partition("## When it does not learn")[2].partition("##")[0], re.MULTILINE
    )
    settings = [setting for line in lines for setting in re.findall(r"`([\w.]+=[^`]+)`", line)]
    assert len(settings) >= 10
    for setting in settings:
        recipe = rk.recipe("dcgan/faces28")
        for key, value in parse_settings([setting]).items():
            recipe = recipe.set(key, value)
        recipe.check()


def test_every_part_is_described() -> None:
    parts = [part for part in rk.registry().parts if part.namespace == "dcgan"]
    assert parts
    assert not [part.name for part in parts if f"{part.kind} `{part.name}`" not in TEXT]
