"""The committed results: whole, of this format, and the source of the pages beside them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from restorekit import bench
from restorekit.bench import results
from restorekit.bench.difference import differences
from restorekit.bench.inputs import Inputs
from restorekit.bench.protocol import manifest, sha
from restorekit.bench.suite import load
from restorekit.registries import Registry

ROOT = Path(__file__).parents[3]
FOLDERS = sorted(path.parent for path in (ROOT / "benchmarks" / "results").glob("*/manifest.json"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaderboard_script", ROOT / "benchmarks" / "leaderboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_results() -> None:
    assert "photos" in {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_committed_results_keep_the_schema(folder: Path) -> None:
    about, rows = results.load(folder)
    assert about["protocol"] == sha(about["ingredients"])
    assert about["shard"] is None
    assert about["ingredients"]["data"]["limit"] is None
    assert about["suite"] == f"core/{folder.name}"
    assert "core/identity" in about["methods"]
    assert len(rows) == len(results.rows(folder))  # nothing beside what the manifest names
    for name, entry in about["methods"].items():
        assert entry.keys() == set(results.METHOD_KEYS), name
        assert entry["licence"], name
        assert entry["environments"] or not entry["seconds"], name
        assert {type(entry["blind"]), type(entry["threads"])} == {bool, int}, name
        assert entry["fingerprint"] == sha({key: entry[key] for key in results.METHOD_KEYS[: results.METHOD_KEYS.index("fingerprint")]}), (
            name
        )
    assert {row["status"] for row in rows} <= set(results.STATUSES)
    text = json.dumps(about)
    assert "/home/" not in text
    assert "/work/" not in text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_committed_results_have_the_protocol_of_todays_suite(folder: Path, tmp_path: Path, registry: Registry) -> None:
    try:
        plan = load(f"core/{folder.name}", registry=registry)
        about = manifest(plan, Inputs(plan, tmp_path), registry)
    except Exception as fault:
        pytest.skip(f"needs the suite's pictures: {fault}")
    assert differences(results.manifest(folder)["ingredients"], about["ingredients"]) == []


def test_pages_and_readme_are_those_of_the_rows(script: ModuleType) -> None:
    made = script.made()
    assert len(made) == 2 * len(FOLDERS) + 1
    assert made[ROOT / "README.md"].count(script.BEGIN) == 1  # or the table would have no place
    drifted = [str(path) for path, content in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != content]
    assert drifted == [], "make leaderboard"


def test_doing_nothing_still_scores_what_is_committed(tmp_path: Path, registry: Registry) -> None:
    committed = {results.key(row): row["value"] for row in results.load(ROOT / "benchmarks" / "results" / "photos")[1]}
    out = bench.run_suite("core/photos", [], tmp_path / "out", limit=1, device="cpu", registry=registry).parent
    rows = bench.rows(out)
    assert len(rows) == 5 * 6
    for row in rows:  # decoders and processors differ in the last bits of a picture
        assert row["value"] == pytest.approx(committed[results.key(row)], rel=1e-3), results.key(row)
