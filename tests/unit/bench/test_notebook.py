from __future__ import annotations

import html.parser
from pathlib import Path

import pytest
import torch
from torch import Tensor

import restorekit as rk
from restorekit.bench import results
from restorekit.builtin.network import Box
from restorekit.errors import UserError
from restorekit.images import Degraded
from restorekit.interfaces import Restorer
from restorekit.modelfile import Model
from restorekit.recipes import Recipe
from restorekit.registries import Registry


class Cells(html.parser.HTMLParser):
    """The text of every cell of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def dim(image: Tensor) -> Tensor:
    return image * 0.9


def test_a_function_shows_itself_as_a_table(tmp_path: Path, suite: str, registry: Registry) -> None:
    found = rk.bench.score(dim, suite, against=["test/smooth"], registry=registry)
    shown = Cells()
    shown.feed(found._repr_html_())
    head, *body = shown.rows
    assert head[:3] == ["#", "method", "blind"]
    assert {row[1] for row in body} == {"core/identity", "dim", "test/smooth"}
    assert all(len(row) == len(head) for row in body)
    standing = next(line for line in found.standings if line["method"] == "dim" and line["metric"] == "core/psnr")
    assert next(row for row in body if row[1] == "dim")[3].startswith(f"{standing['mean']:.2f}")
    assert {row["method"] for row in found.rows} == {"core/identity", "dim", "test/smooth"}
    assert "| dim |" in found.markdown
    assert "dim" in str(found)
    assert found.save(tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert found.folder.is_dir()


def test_models_networks_restorers_and_names(tmp_path: Path, suite: str, registry: Registry) -> None:
    class Told(Restorer):
        uses = frozenset({"sigma"})

        def restore(self, degraded: Degraded) -> Tensor:
            return degraded.image * (1 - degraded.need("sigma").view(-1, 1, 1, 1))

    box = Box().eval()
    model = Model(box, Recipe({"generator": {"part": "test/box"}}))
    for method, label, blind in ((model, "Model", True), (box, "Box", True), (Told(), "Told", False), ("test/smooth", "test/smooth", True)):
        found = rk.bench.score(method, suite, limit=1, registry=registry)
        entry = results.manifest(found.folder)["methods"][label]
        assert entry["blind"] is blind
        assert {row["status"] for row in found.rows} == {"ok"}, label
    found = rk.bench.score(model, suite, limit=1, registry=registry)
    assert results.manifest(found.folder)["methods"]["Model"]["network"]["parameters"] == 1
    with pytest.raises(UserError, match=r"training mode.*\.eval\(\)"):
        rk.bench.score(Box().train(), suite, registry=registry)


def test_a_function_is_measured_anew_because_it_may_have_changed(tmp_path: Path, suite: str, registry: Registry) -> None:
    factor = 0.9
    first = rk.bench.score(lambda image: image * factor, suite, name="mine", out=tmp_path / "out", registry=registry)
    factor = 0.5
    second = rk.bench.score(lambda image: image * factor, suite, name="mine", out=tmp_path / "out", registry=registry)
    assert [row["value"] for row in first.rows] != [row["value"] for row in second.rows]
    assert {row["method"] for row in second.rows} == {"core/identity", "mine"}


def test_a_function_that_returns_nonsense_is_no_score(suite: str, registry: Registry) -> None:
    found = rk.bench.score(lambda image: image * torch.nan, suite, registry=registry)
    assert {row["status"] for row in found.rows if row["method"] == "function"} == {"failed"}
    assert all(line["mean"] is None for line in found.standings if line["method"] == "function")
