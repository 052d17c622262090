from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from restorekit import bench
from restorekit.bench import board, export, results, table
from restorekit.errors import UserError
from restorekit.registries import Registry


@pytest.fixture
def out(tmp_path: Path, suite: str, registry: Registry) -> Path:
    methods = ["test/smooth", "test/oracle", "test/landscape", "test/filler"]
    return bench.run_suite(suite, methods, tmp_path / "out", registry=registry).parent


def test_numbers_for_other_programs_are_those_of_the_table(out: Path) -> None:
    found = board.board(out)
    lines = list(csv.DictReader(io.StringIO(export.csv_text(found))))
    assert len(lines) == 5 * 2 * 3
    for line in lines:
        standing = next(one for one in found.lines if one.method == line["method"]).standings[line["metric"], line["degradation"]]
        assert line["mean"] == ("" if standing.mean is None else str(standing.mean.value))
        assert line["gain"] == ("" if standing.gain is None else str(standing.gain.value))
        assert line["protocol"] == found.about["protocol"]
    missed = {line["method"]: (line["failed"], line["not_applicable"]) for line in lines if line["degradation"] == "all"}
    assert missed["test/landscape"] == ("2", "0")
    assert missed["test/filler"] == ("0", "4")
    json.dumps(export.standings(found), allow_nan=False)


def test_the_text_for_a_terminal_fits_it(out: Path) -> None:
    for width in (80, 40):
        text = table.text(out, width)
        assert max(map(len, text.splitlines())) <= width
        assert "|" not in text
        for words in ("core/identity", "test/smooth", "strong", "failed on 2 of 4", "not applicable on 4 of 4"):
            assert words in text, words
    for words in ("noise, sigma", "n/a", "psnr", "ssim"):
        assert words in table.text(out, 80), words


def test_long_names_are_cut_and_numbers_are_not(tmp_path: Path, suite: str, registry: Registry) -> None:
    name = "a-method-with-a-name-that-is-longer-than-any-terminal-is-wide-" + "x" * 40
    (tmp_path / f"{name}.yaml").write_text("part: test/smooth\n")
    out = bench.run_suite(suite, [str(tmp_path / f"{name}.yaml")], tmp_path / "out", registry=registry).parent
    lines = table.text(out, 80).splitlines()
    row = next(line for line in lines if "a-method" in line)
    assert len(row) <= 80
    assert "…" in row
    mean = board.board(out).lines[0].standings["core/psnr", "all"].mean
    assert mean is not None
    assert f"{mean.value:.2f}" in "\n".join(lines)


def spoil(rows: list[str], how: str) -> list[str]:
    row = json.loads(rows[3])
    if how == "cut":
        return [*rows[:3], rows[3][:20], *rows[4:]]
    if how == "nan":
        return [*rows[:3], rows[3].replace(str(row["value"]), "NaN"), *rows[4:]]
    if how == "missing":
        return rows[:3] + rows[4:]
    if how == "twice":
        return [*rows, rows[3]]
    changes: dict[str, Any] = {
        "value": {"value": "high"},
        "status": {"status": "fine"},
        "reason": {"status": "failed", "value": None},
        "protocol": {"protocol": "0" * 64},
        "key": {"extra": 1},
    }
    return [*rows[:3], json.dumps(row | changes[how]), *rows[4:]]


@pytest.mark.parametrize("how", ["cut", "nan", "missing", "twice", "value", "status", "reason", "protocol", "key"])
def test_damaged_rows_are_never_shown_or_overwritten(tmp_path: Path, suite: str, how: str, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    file = out / "rows.jsonl"
    file.write_text("\n".join(spoil(file.read_text().splitlines(), how)) + "\n")
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"rows\.jsonl.*another --out"):
        bench.leaderboard(out)
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        bench.merge(tmp_path / "whole", [out])
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        bench.diff(out, out)
    assert file.read_bytes() == before
    assert not (tmp_path / "whole").exists()


def test_damaged_or_absent_manifests(tmp_path: Path, suite: str, registry: Registry) -> None:
    with pytest.raises(UserError, match="no such file"):
        bench.leaderboard(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no results of restorekit bench"):
        bench.leaderboard(tmp_path)
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    manifest = out / "manifest.json"
    whole = manifest.read_text()
    for text, words in (
        (whole[:200], "not JSON"),
        ("[]", "no manifest"),
        (whole.replace('"format": 2', '"format": 9'), "format 9.*pip install"),
        (whole.replace('"format": 2', '"format": 1'), "format 1.*another --out"),
        ('{"format": 2}', "missing"),
        (whole.replace('"licence"', '"license"'), "methods: core/identity: incomplete"),
    ):
        manifest.write_text(text)
        with pytest.raises(UserError, match=words):
            bench.leaderboard(out)
        with pytest.raises(UserError, match=words):
            bench.run_suite(suite, [], out, registry=registry)


def test_rows_of_a_method_that_the_manifest_does_not_name_are_left_out(tmp_path: Path, suite: str, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    manifest = (out / "manifest.json").read_bytes()
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    (out / "manifest.json").write_bytes(manifest)  # as if the run had been killed between its two files
    assert "test/smooth" not in bench.leaderboard(out)
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert len(bench.rows(out)) == 2 * 8
    assert "test/smooth" in bench.leaderboard(out)


def test_every_status_has_its_word(out: Path) -> None:
    assert {row["status"] for row in bench.rows(out)} == set(results.STATUSES)
