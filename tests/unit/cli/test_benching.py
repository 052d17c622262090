"""``bench`` and its commands."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""


@pytest.mark.parametrize("order", ["repeated", "listed"])
def test_bench_runs_every_method_and_prints_a_table_that_fits(order: str, run: Run, photo: Path, tmp_path: Path) -> None:
    methods = (
        ["--method", "test/negative", "--method", "test/random"] if order == "repeated" else ["--method", "test/negative", "test/random"]
    )
    out = tmp_path / "bench"
    shown = run("bench", "run", photo.parent, *methods, "--out", out, "--device", "cpu")
    assert shown.code == 0, shown.err
    table = (out / "leaderboard.md").read_text()
    for name in ("core/identity", "test/negative", "test/random"):
        assert name in table
        assert name in shown.out
    assert "|" not in shown.out
    assert max(len(line) for line in shown.out.splitlines() if str(tmp_path) not in line) <= 80
    assert f"Written: {out / 'leaderboard.md'}" in shown.out
    assert (out / "leaderboard.html").read_text().startswith("<!doctype html>")
    assert table.strip() in run("bench", "table", out).out


def test_table_writes_every_form(run: Run, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    assert run("bench", "run", photo.parent, "--method", "test/negative", "--out", out, "--json").json["rows"]
    shown = run("bench", "table", out, "--html", tmp_path / "p.html", "--csv", tmp_path / "p.csv", "--json")
    assert {row["method"] for row in shown.json["rows"]} == {"core/identity", "test/negative"}
    assert {line["method"] for line in shown.json["leaderboard"]} == {"core/identity", "test/negative"}
    with (tmp_path / "p.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(shown.json["leaderboard"])
    assert (tmp_path / "p.html").read_text() == (out / "leaderboard.html").read_text()
    refused = run("bench", "table", out, "--csv", tmp_path / "p.csv")
    assert (refused.code, "--overwrite" in refused.err) == (2, True)
    assert run("bench", "table", out, "--csv", tmp_path / "p.csv", "--overwrite").code == 0
    missing = run("bench", "table", tmp_path / "nowhere")
    assert (missing.code, "no such folder" in missing.err) == (2, True)


def test_a_limit_and_shards_from_the_command_line(run: Run, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, photo.with_name("dog.png"))
    for i in (1, 2):
        shown = run("bench", "run", photo.parent, "--method", "test/negative", "--out", tmp_path / f"s{i}", "--shard", f"{i}/2")
        assert shown.code == 0, shown.err
        assert "restorekit bench merge" in shown.out
    merged = run("bench", "merge", tmp_path / "all", tmp_path / "s1", tmp_path / "s2")
    assert merged.code == 0, merged.err
    assert "test/negative" in merged.out
    assert run("bench", "run", photo.parent, "--method", "test/negative", "--out", tmp_path / "one").code == 0
    same = run("bench", "diff", tmp_path / "all", tmp_path / "one")
    assert (same.code, "No score differs" in same.out) == (0, True)
    few = run("bench", "run", photo.parent, "--method", "test/negative", "--out", tmp_path / "few", "--limit", "1")
    assert "the first 1 images" in few.out
    other = run("bench", "diff", tmp_path / "few", tmp_path / "one", "--json")
    assert other.code == 1
    assert any("limit: 1 and absent" in line for line in other.json["protocol"])
    refused = run("bench", "merge", tmp_path / "bad", tmp_path / "few", tmp_path / "one")
    assert (refused.code, "do not compare" in refused.err) == (2, True)
    assert run("bench", "run", photo.parent, "--method", "test/negative", "--out", tmp_path / "x", "--shard", "3/2").code == 2


def test_inputs_for_other_programs(run: Run, photo: Path, tmp_path: Path) -> None:
    shown = run("bench", "inputs", photo.parent, "--out", tmp_path / "damaged", "--sharp")
    assert shown.code == 0, shown.err
    assert "5 damaged pictures" in shown.out
    assert (tmp_path / "damaged" / "sharp" / "cat.png").is_file()
    scored = run("bench", "run", photo.parent, "--method", tmp_path / "damaged", "--out", tmp_path / "out", "--json")
    assert {row["status"] for row in scored.json["rows"]} == {"ok"}


def test_verify_tells_by_its_exit_code(run: Run, photo: Path, tmp_path: Path) -> None:
    rows = run("bench", "run", photo.parent, "--method", "test/negative", "--out", tmp_path / "out", "--json").json["rows"]
    value = next(r["value"] for r in rows if (r["method"], r["metric"], r["degradation"]) == ("core/identity", "core/psnr", "jpeg-20"))
    claim = {
        "claim": 1,
        "source": "a paper",
        "suite": str(photo.parent),
        "method": "core/identity",
        "claims": [{"degradation": "jpeg-20", "value": round(value, 2)}],
    }
    file = tmp_path / "claim.yaml"
    file.write_text(json.dumps(claim))
    shown = run("bench", "verify", file)
    assert shown.code == 0, shown.err
    assert "holds" in shown.out
    claim["claims"][0]["value"] = 99.0
    file.write_text(json.dumps(claim))
    shown = run("bench", "verify", file, "--json")
    assert shown.code == 1
    assert shown.json["holds"] is False
    file.write_text("claim: 1\n")
    assert run("bench", "verify", file).code == 2


def test_data_sets_that_are_not_there(run: Run, tmp_path: Path) -> None:
    shown = run("bench", "run", "core/gopro", "--method", "core/tv-denoise", "--out", tmp_path / "out", "--data", tmp_path)
    assert shown.code == 2
    assert "--data DIR" in shown.err
    assert "Nah, Kim & Lee" in shown.err
