from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from restorekit import bench
from restorekit.bench import claims
from restorekit.bench.board import board
from restorekit.errors import ConfigError, UserError
from restorekit.registries import Registry

ROOT = Path(__file__).parents[3]


def write(path: Path, **changes: Any) -> Path:
    content = {"claim": 1, "source": "Them, 2020, table 1", "suite": "tiny.yaml", "method": "test/smooth", "claims": [], **changes}
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(content, stream)
    return path


@pytest.fixture
def reached(tmp_path: Path, suite: str, registry: Registry) -> dict[tuple[str, str, str], float]:
    """Mean by method, metric and degradation."""
    out = bench.run_suite(suite, ["test/smooth"], tmp_path / "reached", registry=registry).parent

    return {
        (line.method, metric, name): standing.mean.value
        for line in board(out).lines
        for (metric, name), standing in line.standings.items()
        if standing.mean is not None
    }


def test_a_claim_is_compared_under_both_rulers(tmp_path: Path, registry: Registry, reached: dict[Any, float]) -> None:
    psnr, ssim = reached["test/smooth", "core/psnr", "weak"], reached["test/smooth", "core/ssim", "weak"]
    claim = write(tmp_path / "c.yaml", claims=[{"degradation": "weak", "value": round(psnr, 2), "ours": "core/ssim"}])
    found = claims.verify(claim, registry=registry)
    assert found.holds
    (verdict,) = found.verdicts
    assert verdict.obtained is not None
    assert verdict.ours is not None
    assert (verdict.obtained.value, verdict.ours.value) == (pytest.approx(psnr), pytest.approx(ssim))
    text = found.text()
    for words in ("Them, 2020, table 1", f"claimed    {psnr:.2f}", f"obtained   {psnr:.2f}", "our ruler", "core/ssim", "as claimed"):
        assert words in text, text


@pytest.mark.parametrize("case", ["ruler", "damaged", "damage", "interval", "unexplained", "metric-outside"])
def test_the_likely_cause_of_a_difference(case: str, tmp_path: Path, registry: Registry, reached: dict[Any, float]) -> None:
    value, options, words = {
        "ruler": (reached["test/smooth", "core/ssim", "weak"], {"ruler": "core/psnr"}, "another ruler. It comes out under core/ssim"),
        "damaged": (reached["core/identity", "core/psnr", "weak"], {}, "that of the damaged pictures"),
        "damage": (reached["test/smooth", "core/psnr", "strong"], {}, "another damage. It comes out on strong"),
        "interval": (reached["test/smooth", "core/psnr", "weak"] + 0.05, {}, "lies within the interval over images"),
        "unexplained": (55.0, {}, "no ruler measured here explains it.*Nearest: "),
        "metric-outside": (0.5, {"ruler": "test/error"}, "no ruler"),
    }[case]
    claim = write(tmp_path / "c.yaml", claims=[{"degradation": "weak", "value": value, "tolerance": 0.001, **options}])
    found = claims.verify(claim, registry=registry)
    assert not found.holds
    import re

    assert re.search(words, found.verdicts[0].cause), found.verdicts[0].cause


def test_claims_about_the_damaged_pictures_and_a_part_of_them(tmp_path: Path, registry: Registry, reached: dict[Any, float]) -> None:
    claim = write(
        tmp_path / "c.yaml",
        claims=[
            {"method": "core/identity", "degradation": "weak", "value": round(reached["core/identity", "core/psnr", "weak"], 2)},
            {"degradation": "weak", "value": 99.0},
            {"degradation": "weak", "value": 98.0, "note": "they score the sharp pictures"},
        ],
    )
    found = claims.verify(claim, registry=registry)
    assert [verdict.holds for verdict in found.verdicts] == [True, False, False]
    assert found.verdicts[2].cause == "likely cause: they score the sharp pictures"
    part = claims.verify(claim, limit=1, registry=registry)
    assert "only the first 1 images were used" in part.verdicts[1].cause


def test_a_method_without_a_mean(tmp_path: Path, registry: Registry, suite: str) -> None:
    claim = write(tmp_path / "c.yaml", method="core/wiener", claims=[{"value": 30.0}])
    found = claims.verify(claim, registry=registry)
    assert not found.holds
    assert "no mean: needs the psf" in found.text()


def test_all_mistakes_of_a_claim_are_shown_at_once(tmp_path: Path, registry: Registry) -> None:
    claim = write(
        tmp_path / "c.yaml",
        claim=2,
        method=3,
        sorce="x",
        claims=[{"valu": 3}, "x", {"value": 1.0, "ruler": "core/pnsr"}, {"value": 1.0, "tolerance": 0}],
    )
    with pytest.raises(ConfigError) as caught:
        claims.read(claim, registry=registry)
    text = "\n".join(caught.value.problems)
    for words in (
        "claim: got 2",
        "method: got 3",
        "sorce: not a key of claims. Did you mean source",
        "claims.0.valu: not an option of a claim. Did you mean value",
        "claims.0.value: missing",
        "claims.1: got 'x'",
        "claims.2.ruler: no metric called 'core/pnsr'. Did you mean core/psnr",
        "claims.3.tolerance: got 0",
    ):
        assert words in text, text
    with pytest.raises(ConfigError, match="claims: got None"):
        claims.read(write(tmp_path / "d.yaml", claims=None), registry=registry)


def test_a_degradation_that_the_suite_has_not(tmp_path: Path, registry: Registry, suite: str) -> None:
    with pytest.raises(UserError, match="has no degradation medium; it has weak, strong"):
        claims.verify(write(tmp_path / "c.yaml", claims=[{"degradation": "medium", "value": 1.0}]), registry=registry)


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "claims").glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_claims_are_sound(file: Path, registry: Registry) -> None:
    found = claims.read(file, registry=registry)
    assert found.source
    registry.find("suite", found.suite)


@pytest.mark.parametrize("name", ["scikit-image-filters", "denoise-model"])
def test_the_claims_about_the_committed_results_are_theirs(name: str, registry: Registry) -> None:
    found = claims.read(ROOT / "benchmarks" / "claims" / f"{name}.yaml", registry=registry)
    results = ROOT / "benchmarks" / "results" / found.suite.removeprefix("core/")
    lines = {line.method: line for line in board(results).lines}
    for claim in found.claims:
        method = claim.method or found.method
        mean = lines[Path(method).stem if method.endswith(".yaml") else method].standings[claim.ruler, claim.degradation].mean
        assert mean is not None
        assert abs(mean.value - claim.value) <= claim.tolerance, claim


def test_the_claims_about_the_shipped_model_are_those_of_its_card(registry: Registry) -> None:
    found = claims.read(ROOT / "benchmarks" / "claims" / "shipped-model.yaml", registry=registry)
    card = (ROOT / found.source.partition(",")[0]).read_text()
    lines = [line.strip("|").split("|") for line in card.split("## Scores")[1].splitlines() if line.startswith("|")]
    scores = {name.split()[0]: {"core/psnr": psnr.split()[0], "core/ssim": ssim.split()[0]} for name, psnr, ssim in lines[2:]}
    rows = {("shake", "core/identity"): "shaken", ("shake", None): "restored", ("sharp", None): "sharp"}
    told = {(rows[claim.degradation, claim.method], claim.ruler): claim.value for claim in found.claims}
    assert told == {(row, ruler): float(value) for row, values in scores.items() for ruler, value in values.items()}
