from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restorekit import bench
from restorekit.bench import results
from restorekit.bench.job import Job
from restorekit.bench.run import run
from restorekit.errors import UserError
from restorekit.registries import Registry

WriteSuite = Callable[..., str]


def plain(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in results.MEASURED} for row in bench.rows(folder)]


def test_shards_make_the_whole(tmp_path: Path, suite: str, registry: Registry, calls: Callable[[], int]) -> None:
    methods = ("test/smooth", "test/random")
    whole = bench.run_suite(suite, methods, tmp_path / "whole", registry=registry).parent
    shards = [tmp_path / f"shard-{i}" for i in (1, 2, 3)]
    for i, shard in enumerate(shards, 1):
        run(Job(suite=suite, methods=methods, out=shard, shard=f"{i}/3", registry=registry))
        with pytest.raises(UserError, match=rf"shard {i}/3 of a run. Join all"):
            bench.leaderboard(shard)
    assert [len(bench.rows(shard)) for shard in shards] == [12, 6, 6]
    with pytest.raises(UserError, match=r"not the whole: 6 scores are missing.*there are the shards 1/3, 3/3"):
        bench.merge(tmp_path / "part", [shards[0], shards[2]])
    assert not (tmp_path / "part").exists()
    page = bench.merge(tmp_path / "merged", shards)
    assert plain(page.parent) == plain(whole)
    one, other = results.manifest(page.parent), results.manifest(whole)
    assert (one["protocol"], one["inputs"], one["shard"]) == (other["protocol"], other["inputs"], None)
    assert one["methods"]["test/smooth"]["seconds"]["images"] == 4
    assert bench.diff(page.parent, whole).same
    assert sorted(file.name for file in (page.parent / "pictures").rglob("*.webp")) == sorted(
        file.name for file in (whole / "pictures").rglob("*.webp")
    )
    done = calls()
    bench.run_suite(suite, ["test/smooth", "test/grey"], page.parent, registry=registry)  # goes on from what was merged
    assert calls() == done
    with pytest.raises(UserError, match="holds results already"):
        bench.merge(page.parent, shards)


def test_runs_of_different_methods_join(tmp_path: Path, suite: str, registry: Registry) -> None:
    one = bench.run_suite(suite, ["test/smooth"], tmp_path / "one", registry=registry).parent
    two = bench.run_suite(suite, ["test/random"], tmp_path / "two", registry=registry).parent
    merged = bench.merge(tmp_path / "merged", [one, two]).parent
    assert list(results.manifest(merged)["methods"]) == ["core/identity", "test/smooth", "test/random"]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1-3", "a/b", "1/3/5"])
def test_a_shard_that_is_none(tmp_path: Path, suite: str, shard: str, registry: Registry) -> None:
    with pytest.raises(UserError, match=r"expected i/n with i from 1 to n"):
        run(Job(suite=suite, methods=(), out=tmp_path / "out", shard=shard, registry=registry))


def test_a_shard_does_not_go_into_the_folder_of_another(tmp_path: Path, suite: str, registry: Registry) -> None:
    run(Job(suite=suite, methods=(), out=tmp_path / "out", shard="1/2", registry=registry))
    for shard, words in (("2/2", "this is shard 2/2"), (None, "this is a whole run")):
        with pytest.raises(UserError, match=f"holds shard 1/2, and {words}.*bench merge"):
            run(Job(suite=suite, methods=(), out=tmp_path / "out", shard=shard, registry=registry))


def test_what_contradicts_itself_is_not_joined(tmp_path: Path, suite: str, registry: Registry, write_suite: WriteSuite) -> None:
    one, two = (bench.run_suite(suite, ["test/smooth"], tmp_path / name, registry=registry).parent for name in ("one", "two"))
    lines = (two / "rows.jsonl").read_text().splitlines()
    row = json.loads(lines[5])
    (two / "rows.jsonl").write_text("\n".join([*lines[:5], json.dumps(row | {"value": row["value"] + 1}), *lines[6:]]) + "\n")
    with pytest.raises(UserError, match=rf"{row['image']}.*another of the folders has"):
        bench.merge(tmp_path / "merged", [one, two])
    (two / "rows.jsonl").write_text("\n".join(lines) + "\n")
    about = results.manifest(two)
    about["methods"]["test/smooth"] |= {"fingerprint": "0" * 64, "threads": 4}
    (two / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"test/smooth is not the method that the others measured \(different: threads\)"):
        bench.merge(tmp_path / "merged", [one, two])
    other = bench.run_suite(write_suite(tmp_path / "tiny.yaml", metrics=["core/ssim"]), [], tmp_path / "other", registry=registry).parent
    with pytest.raises(UserError, match=r"(?s)their scores do not compare. What differs:\n  metrics.core/psnr: "):
        bench.merge(tmp_path / "merged", [one, other])
    with pytest.raises(UserError, match="nothing to join"):
        bench.merge(tmp_path / "merged", [])
    assert not (tmp_path / "merged").exists()


def test_diff_says_which_ingredient_differs(tmp_path: Path, registry: Registry, write_suite: WriteSuite, photographs: Path) -> None:
    first = bench.run_suite(write_suite(tmp_path / "s.yaml"), ["test/smooth"], tmp_path / "one", registry=registry).parent
    louder = {"weak": {"part": "core/gaussian-noise", "sigma": 0.06}, "strong": {"part": "core/gaussian-noise", "sigma": 0.2}}
    changed = write_suite(tmp_path / "s.yaml", degradations=louder, data={"images": str(photographs), "crop": 40})
    second = bench.run_suite(changed, ["test/smooth"], tmp_path / "two", registry=registry).parent
    found = bench.diff(first, second)
    assert not found.same
    assert "degradations.weak.sigma: 0.05 and 0.06" in found.protocol
    assert "data.crop: absent and 40" in found.protocol
    assert any(line.startswith("targets: 2 different: ") for line in found.protocol)
    assert found.scores == ()
    assert "do not compare" in found.text()


def test_diff_of_one_protocol_shows_methods_and_scores(tmp_path: Path, suite: str, registry: Registry) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def mine(image):\n    return image\n")
    first = bench.run_suite(suite, [f"{file}:mine", "test/random"], tmp_path / "one", registry=registry).parent
    file.write_text("def mine(image):\n    return image * 0.9\n")
    second = bench.run_suite(suite, [f"{file}:mine", "test/smooth"], tmp_path / "two", registry=registry).parent
    found = bench.diff(first, second)
    assert found.protocol == ()
    assert {"test/random: only in the first", "test/smooth: only in the second"} < set(found.methods)
    assert any(line.startswith("mine: source: ") for line in found.methods)
    values = [{results.key(row): row["value"] for row in bench.rows(folder)} for folder in (first, second)]
    expected = [
        b - a
        for key, a in values[0].items()
        if (b := values[1].get(key)) is not None and key[0] == "mine" and key[2:5] == ("weak", 0, "core/psnr")
    ]
    mean, largest, count = next(line[3:] for line in found.scores if line[:3] == ("mine", "core/psnr", "weak"))
    assert (mean, largest, count) == (pytest.approx(sum(expected) / 2), pytest.approx(max(map(abs, expected))), 2)
    assert "mine, core/psnr, weak: " in found.text()
    assert "core/identity, " not in found.text()
    assert bench.diff(first, first).same
