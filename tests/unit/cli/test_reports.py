"""``list``, ``info``, ``plugins`` and ``check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restorekit import builtin, config, discovery, recipes
from restorekit.hooks import KINDS
from restorekit.modelfile import Model
from restorekit.registries import PluginInfo, Registry

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""


def test_list_as_json_has_exactly_the_promised_keys(run: Run, registry: Registry) -> None:
    shown = run("list", "--json")
    assert shown.code == 0
    assert [(row["kind"], row["name"]) for row in shown.json] == [(p.kind, p.name) for p in registry.parts]
    for row in shown.json:
        assert list(row) == ["kind", "name", "summary", "paper", "licence", "distribution", "version"]
    mine = next(row for row in shown.json if row["name"] == "test/negative")
    assert mine == {
        "kind": "restorer",
        "name": "test/negative",
        "summary": "does negative",
        "paper": "textbook",
        "licence": "MIT",
        "distribution": "restorekit-test",
        "version": "1.2",
    }


def test_list_is_grouped_by_kind_and_fits_the_screen(run: Run, registry: Registry) -> None:
    lines = run("list").out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [k for k in KINDS if any(p.kind == k for p in registry.parts)]
    assert max(map(len, lines)) <= 100
    assert not any("\x1b" in line for line in lines)
    for p in registry.parts:
        assert any(line.startswith(f"  {p.name} ") for line in lines)


@pytest.mark.parametrize("kind", KINDS)
def test_list_of_one_kind(kind: str, run: Run, registry: Registry) -> None:
    shown = run("list", kind, "--json")
    assert shown.code == 0
    assert [row["name"] for row in shown.json] == [p.name for p in registry.of_kind(kind)]
    assert run("list", kind).code == 0


def test_a_broken_plugin_is_one_line_beside_the_list(run: Run) -> None:
    shown = run("list", "--json")
    assert shown.json
    assert shown.err.splitlines() == ["warning: the plugin sick (restorekit-sick) did not load. See: restorekit plugins"]


def test_plugins_shows_health(run: Run, registry: Registry) -> None:
    rows = {row["namespace"]: row for row in run("plugins", "--json").json}
    core = rows["core"]
    assert core["health"] == "ok"
    assert core["distribution"] == "restorekit"
    assert core["parts"] == sum(p.namespace == "core" for p in registry.parts)
    assert rows["sick"]["health"].startswith("failed at import: importing sick failed: ModuleNotFoundError")
    assert rows["sick"]["version"] == "0.3"
    assert core["path"] == str(Path(builtin.__file__).parent)
    shown = run("plugins")
    assert shown.code == 0
    assert shown.err == ""
    for row in rows.values():
        assert row["distribution"] in shown.out
        assert row["path"] in shown.out
    assert "sick: importing sick failed: ModuleNotFoundError: No module named 'x'." in shown.out.splitlines()


def test_info_shows_the_options_of_the_signature(run: Run, registry: Registry) -> None:
    (row,) = run("info", "negative", "--json").json
    assert row["name"] == "test/negative"
    assert row["options"] == [
        {
            "name": "strength",
            "type": "float > 0",
            "default": 1.0,
            "required": False,
            "help": "share of the negative in the result, in one line of two.",
        }
    ]
    source = registry.find("restorer", "test/negative").source()
    assert row["source"] == str(source)
    assert row["declares"] == {"uses": [], "scale": 1, "iterative": False, "tiled": False}
    shown = run("info", "test/negative").out
    for words in ("strength", "float > 0", "1.0", "restorekit-test 1.2", "textbook", "MIT", str(source), "share of the negative"):
        assert words in shown


def test_info_shows_all_parts_of_a_name_and_picks_one(run: Run, registry: Registry) -> None:
    kinds = [p.kind for p in registry.parts if p.name == "core/ssim"]
    assert len(kinds) > 1
    assert [row["kind"] for row in run("info", "core/ssim", "--json").json] == kinds
    assert [row["kind"] for row in run("info", "metric:core/ssim", "--json").json] == ["metric"]
    text = run("info", "core/ssim").out
    assert all(f"{kind} core/ssim" in text for kind in kinds)


def test_info_shows_recipes_last(run: Run, registry: Registry) -> None:
    shared = [r.name for r in registry.of_kind("recipe") if len(registry.named(r.name)) > 1]
    if not shared:
        pytest.skip("no recipe has the name of another part")
    assert run("info", shared[0], "--json").json[-1]["kind"] == "recipe"


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "features"])  # those import torchvision and timm
def test_info_describes_parts_of_every_kind(kind: str, run: Run, registry: Registry) -> None:
    for p in registry.of_kind(kind)[:2]:
        shown = run("info", f"{kind}:{p.name}", "--json")
        assert shown.code == 0, shown.err
        (row,) = shown.json
        assert (row["kind"], row["name"], row["paper"]) == (kind, p.name, p.part.paper)
        if KINDS[kind]:
            assert [option["name"] for option in row["options"]] == list(config.options_of(p.load()))
            assert row["takes"]
            assert row["gives"]
        assert p.name in run("info", f"{kind}:{p.name}").out


def test_info_of_a_recipe_is_a_recipe(run: Run, registry: Registry, tmp_path: Path) -> None:
    found = registry.of_kind("recipe")
    if not found:
        pytest.skip("no recipe is installed")
    (row,) = run("info", f"recipe:{found[0].name}", "--json").json
    whole = recipes.recipe(found[0].name, registry=registry).check(registry)
    assert row["recipe"] == whole.content
    text = run("info", f"recipe:{found[0].name}").out
    (tmp_path / "again.yaml").write_text(text[text.index("  recipe: 1") :])
    assert recipes.recipe(tmp_path / "again.yaml").check(registry).content == whole.content


def test_info_of_a_model_file(run: Run, registry: Registry, tmp_path: Path) -> None:
    spec = {"part": "deblurgan/compact", **dict(registry.find("generator", "deblurgan/compact").part.example)}
    whole = recipes.recipe({"recipe": 1, "generator": spec, "losses": ["core/l1"], "data": {"train": "photos"}}).check(registry)
    generator = registry.create("generator", spec.pop("part"), **spec)
    provenance = {"distributions": {"deblurgan": "restorekit-deblurgan==0.1.0"}}
    file = Model(generator, whole, provenance=provenance, scores={"core/psnr": 27.125}, ema=True).save(tmp_path / "m.safetensors")
    row = run("info", file, "--json").json
    assert row["recipe"] == whole.content
    assert row["provenance"] == provenance
    assert row["scores"] == {"core/psnr": 27.125}
    assert row["parameters"] == sum(weight.numel() for weight in generator.parameters())
    text = run("info", file).out
    for words in ("deblurgan/compact", "27.12", "restorekit-deblurgan==0.1.0", "part: core/l1", "EMA"):
        assert words in text
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-8])
    shown = run("info", tmp_path / "cut.safetensors")
    assert shown.code == 2
    assert "cut.safetensors" in shown.err


def test_check_tells_which_checks_fail(run: Run, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = Registry(
        [registry.find("restorer", f"test/{name}") for name in ("double", "faulty")], [PluginInfo("test", "restorekit-test", "1.2", 1, 2)]
    )
    monkeypatch.setattr(discovery, "registry", lambda: mixed)
    shown = run("check", "test", "--json")
    assert shown.code == 1
    rows = shown.json
    assert {"part", "kind", "check", "status", "expected", "seen", "fix", "seconds"} <= set(rows[0])
    failed = {(row["part"], row["status"]) for row in rows if row["status"] == "failed"}
    assert ("test/faulty", "failed") in failed
    text = run("check", "test")
    assert text.code == 1
    assert "ZeroDivisionError" in text.out
    counts = Counter(row["status"] for row in rows)
    assert f"{len(rows)} checks: {counts['passed']} hold, {counts['failed']} failed" in text.out


def test_check_of_a_plugin_that_did_not_load_fails(run: Run) -> None:
    shown = run("check", "sick")
    assert shown.code == 1
    assert "No module named 'x'" in shown.out


def test_check_passes_where_all_holds(run: Run, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Registry([registry.find("restorer", "test/double")], [PluginInfo("test", "restorekit-test", "1.2", 1, 1)])
    monkeypatch.setattr(discovery, "registry", lambda: good)
    shown = run("check", "test")
    assert shown.code == 0, shown.out
    verdict = shown.out.splitlines()[-1]
    assert " hold" in verdict
    assert "failed" not in verdict


def test_info_of_a_metric_with_weights_does_not_fetch_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    fetched: list[object] = []
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *arguments, **options: fetched.append(arguments))
    shown = run("info", "core/lpips", "--json")
    assert shown.code == 0, shown.err
    assert shown.json[0]["declares"]["downloads"] is True
    assert fetched == []
