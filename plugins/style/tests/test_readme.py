"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path

import restorekit as rk

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_recipe_is_valid_and_its_layers_exist(tmp_path: Path) -> None:
    (code,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "textured.yaml"
    file.write_text(code, encoding="utf-8")
    _, style = rk.recipe(file).check().content["losses"]
    features = rk.registry().create("features", style["features"]["part"], weights="random")
    assert set(style["layers"]) <= set(features.layers)


def test_every_part_is_described() -> None:
    parts = [part for part in rk.registry().parts if part.namespace == "style"]
    assert parts
    assert not [part.name for part in parts if f"{part.kind} `{part.name}`" not in TEXT]
