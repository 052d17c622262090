"""``score``: what is matched, what is printed, and what is said of the rest."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from restorekit import recipes
from restorekit.registries import Registry

Run = Callable[..., Any]
"""The fixture `run`: arguments in, exit code and both streams out."""

CAT = skimage.data.chelsea()[60:240, 120:320]


def save(path: Path, picture: np.ndarray[Any, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def noisy(seed: int, sigma: float = 10.0) -> np.ndarray[Any, Any]:
    return np.clip(CAT + np.random.default_rng(seed).normal(0, sigma, CAT.shape), 0, 255).round().astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    restored, reference = tmp_path / "restored", tmp_path / "sharp"
    for i, name in enumerate(("a", "deep/b", "c")):
        save(restored / f"{name}.png", noisy(i, 5.0 * (i + 1)))
        save(reference / f"{name}.{'png' if i else 'bmp'}", CAT)
    return restored, reference


def test_two_files_under_every_ruler_that_needs_no_download(run: Run, registry: Registry, tmp_path: Path) -> None:
    restored, reference = save(tmp_path / "x.png", noisy(0)), save(tmp_path / "y.png", CAT)
    shown = run("score", restored, reference)
    assert shown.code == 0, shown.err
    assert shown.err == ""
    found = {line.split()[0]: line for line in shown.out.splitlines()}
    assert set(found) == {part.name for part in registry.of_kind("metric") if not part.load().downloads}  # type: ignore[attr-defined]
    assert found["core/psnr"].split()[1:] == [f"{peak_signal_noise_ratio(CAT, noisy(0)):.2f}", "dB,", "higher", "is", "better"]
    (image,) = run("score", restored, reference, "--json").json["images"]
    wanted = structural_similarity(
        CAT, noisy(0), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )
    assert image["scores"]["core/ssim"] == pytest.approx(wanted, abs=1e-6)
    assert list(found)[-2:] == ["core/blur-effect", "core/sharpness"], "scores without a reference come last"


def test_folders_are_matched_by_name_and_averaged(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "new" / "scores.csv"
    shown = run("score", *folders, "--metric", "psnr", "--metric", "core/ssim", "--csv", table, "--json")
    assert shown.code == 0, shown.err
    report = shown.json
    assert [image["name"] for image in report["images"]] == ["a.png", "c.png", "deep/b.png"]
    wanted = [peak_signal_noise_ratio(CAT, noisy(i, 5.0 * (i + 1))) for i in (0, 2, 1)]
    assert [image["scores"]["core/psnr"] for image in report["images"]] == pytest.approx(wanted)
    assert report["mean"]["core/psnr"] == {"value": pytest.approx(np.mean(wanted)), "images": 3, "infinite": 0}
    assert list(report["metrics"]) == ["core/psnr", "core/ssim"]
    assert report["metrics"]["core/psnr"] == {"higher_is_better": True, "needs_target": True, "unit": "dB", "definition": ""}
    assert report["problems"] == []
    rows = list(csv.DictReader(table.open()))
    assert [row["picture"] for row in rows] == ["a.png", "c.png", "deep/b.png", "mean"]
    assert [float(row["core/psnr"]) for row in rows] == pytest.approx([*wanted, np.mean(wanted)])
    lines = run("score", *folders, "--metric", "psnr", "--metric", "core/ssim").out.splitlines()
    assert lines[0].split() == ["picture", "psnr", "ssim"]
    assert lines[-1].split()[:4] == ["mean", "of", "3", f"{np.mean(wanted):.2f}"]


def test_identical_pictures_are_counted_and_left_out(run: Run, folders: tuple[Path, Path]) -> None:
    save(folders[0] / "a.png", CAT)
    report = run("score", *folders, "--metric", "core/psnr", "--json").json
    assert report["images"][0]["scores"]["core/psnr"] == "inf"
    assert report["mean"]["core/psnr"]["images"] == 2
    assert report["mean"]["core/psnr"]["infinite"] == 1
    assert math.isfinite(report["mean"]["core/psnr"]["value"])
    assert "core/psnr: 1 infinite (identical pictures), left out of the average" in run("score", *folders).out


def test_all_that_cannot_be_scored_is_listed_and_the_rest_is_scored(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    restored, reference = folders
    save(restored / "extra.png", CAT)
    save(reference / "lonely.png", CAT)
    save(restored / "wide.png", CAT[:, :150])
    save(reference / "wide.png", CAT)
    save(restored / "grey.png", CAT[..., 0])
    save(reference / "grey.png", CAT)
    save(restored / "twice.png", CAT)
    save(restored / "twice.jpg", CAT)
    save(reference / "twice.png", CAT)
    for folder in folders:
        (folder / "broken.png").write_bytes(b"no picture")
    shown = run("score", restored, reference, "--json")
    assert shown.code == 2
    assert [image["name"] for image in shown.json["images"]] == ["a.png", "c.png", "deep/b.png"]
    problems = "\n".join(shown.json["problems"])
    assert len(shown.json["problems"]) == 7
    for words in (
        f"{restored / 'extra.png'}: no picture of this name in {reference}",
        f"{reference / 'lonely.png'}: no picture of this name in {restored}",
        f"{restored / 'wide.png'}: 150×180, and {reference / 'wide.png'} has 200×180",
        f"{restored / 'grey.png'}: grey, and {reference / 'grey.png'} is in colour",
        "twice.jpg and twice.png have one name",
        f"{restored / 'broken.png'}: not an image",
        f"{reference / 'broken.png'}: not an image",
    ):
        assert words in problems
        assert words in shown.err
    assert "7 problems" in shown.err
    assert "Traceback" not in shown.err


def test_a_ruler_that_refuses_pictures_is_one_line(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "restored" / f"{name}.png", CAT[:50, :50])
        save(tmp_path / "sharp" / f"{name}.png", noisy(0)[:50, :50])
    shown = run("score", tmp_path / "restored", tmp_path / "sharp")
    assert shown.code == 2
    assert "core/ms-ssim: image is 50×50" in shown.err
    assert "(2 pictures, the first is a.png)" in shown.err
    assert "1 problem:" in shown.err
    assert "–" in shown.out
    assert "core/ms-ssim: average of 0 only" in shown.out


def test_metrics_from_files_and_of_sets(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    features = "{part: core/squeezenet, weights: random}"
    (tmp_path / "distance.yaml").write_text(f"{{part: core/fid, features: {features}, layer: features.5, resize: 64}}")
    (tmp_path / "two.yaml").write_text("{part: core/ms-ssim, scales: 2}")
    metrics = ["--metric", tmp_path / "distance.yaml", "--metric", tmp_path / "two.yaml"]
    report = run("score", *folders, *metrics, "--json").json
    assert report["mean"]["distance"]["value"] > 0
    assert report["mean"]["distance"]["images"] == 3
    assert set(report["images"][0]["scores"]) == {"two"}
    assert "layer features.5" in report["metrics"]["distance"]["definition"]
    assert "3 samples" in report["metrics"]["distance"]["definition"]
    shown = run("score", *folders, *metrics)
    assert any(line.startswith("distance: ") for line in shown.out.splitlines())
    alone = run("score", folders[0] / "a.png", folders[1] / "a.bmp", "--metric", tmp_path / "distance.yaml")
    assert alone.code == 2
    assert "at least 2 pictures, this one has 1" in alone.err


SPEC = "features: {part: core/squeezenet, weights: random}, layer: features.5, resize: 64"


@pytest.fixture
def unmatched(tmp_path: Path) -> tuple[Path, Path]:
    """Five pictures in each of two folders, in which no name and hardly a size is the same."""
    for number in range(5):
        save(tmp_path / "made" / f"{number}.png", noisy(number)[: 70 + number, :64])
        save(tmp_path / "real" / "deep" / f"photo{number}.bmp", np.roll(CAT, 30 * number, 1)[:, : 150 + number])
    for name in ("fid", "kid", "precision", "recall", "diversity"):
        (tmp_path / f"{name}.yaml").write_text(f"{{part: core/{name}, {SPEC}}}")
    return tmp_path / "made", tmp_path / "real"


def features_of(folder: Path, registry: Registry) -> Callable[[Any], Any]:
    """Torchmetrics' score of the pictures of two folders, given its class."""
    network = registry.create("features", "core/squeezenet", weights="random")

    class Vectors(torch.nn.Module):
        num_features = 256

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            sized = F.interpolate(image.float() / 255, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)
            found: torch.Tensor = network(sized, ["features.5"])["features.5"].mean((2, 3)).double()
            return found

    def score(metric: Any) -> Any:
        built = metric(Vectors())
        for side in ("made", "real"):
            for path in sorted((folder / side).rglob("*.*")):
                pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).unsqueeze(0)
                built.update(pixels, real=side == "real")
        return built.compute()

    return score


def test_folders_are_compared_as_sets_where_only_sets_are_scored(
    run: Run, unmatched: tuple[Path, Path], registry: Registry, tmp_path: Path
) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    theirs = features_of(tmp_path, registry)
    with torch.random.fork_rng():
        kid = float(theirs(lambda network: KernelInceptionDistance(feature=network, subsets=1, subset_size=5))[0])
    metrics = ["--metric", tmp_path / "kid.yaml", "--metric", tmp_path / "fid.yaml"]
    table = tmp_path / "scores.csv"
    shown = run("score", *unmatched, *metrics, "--json", "--csv", table)
    assert shown.code == 0, shown.err
    assert shown.json["mean"]["kid"] == {"value": pytest.approx(kid, rel=1e-3), "images": 5, "infinite": 0}
    assert shown.json["images"] == []
    definition = shown.json["metrics"]["kid"]["definition"]
    assert "5 samples, 95% interval" in definition
    (row,) = csv.DictReader(table.open())
    assert row["picture"] == "mean"
    assert float(row["kid"]) == shown.json["mean"]["kid"]["value"]
    assert row["kid definition"] == definition
    save(unmatched[1] / "one-more.png", CAT[:90])
    fid = float(theirs(lambda network: FrechetInceptionDistance(feature=network, input_img_size=(3, 64, 64)).set_dtype(torch.float64)))
    report = run("score", *unmatched, *metrics, "--json").json
    assert report["mean"]["fid"]["value"] == pytest.approx(fid, rel=1e-2)
    assert "5 restored and 6 target samples" in report["metrics"]["fid"]["definition"]
    assert "no more pictures than the layer's 256 numbers: FID is biased" in report["metrics"]["fid"]["definition"]
    text = run("score", *unmatched, *metrics).out
    assert [line.split()[0] for line in text.splitlines() if line[0] != " "] == ["kid", "fid"], "a line for each score, none for pictures"


def test_sets_of_pictures_that_all_have_a_partner_are_halved_in_pairs(run: Run, unmatched: tuple[Path, Path], tmp_path: Path) -> None:
    made, real = unmatched
    for path in (real / "deep").iterdir():
        path.rename(real / path.name.removeprefix("photo"))
    definitions = []
    for name in ("0.png", "another.png"):
        (made / "0.png").rename(made / name)
        report = run("score", made, real, "--metric", tmp_path / "kid.yaml", "--json").json
        definitions.append(report["metrics"]["kid"]["definition"])
    assert "(20 random halves, seed 0)" in definitions[0]
    assert "(20 random halves of each set, seed 0)" in definitions[1]


def test_bad_pictures_of_sets(run: Run, unmatched: tuple[Path, Path], tmp_path: Path) -> None:
    made, real = unmatched
    metrics = ["--metric", tmp_path / "precision.yaml", "--metric", tmp_path / "recall.yaml"]
    whole = run("score", made, real, *metrics, "--json").json["mean"]
    (real / "broken.png").write_bytes(b"no picture")
    shown = run("score", made, real, *metrics, "--json")
    assert shown.code == 2
    assert shown.json["mean"] == whole, "the others are scored"
    assert "1 problem:" in shown.err
    assert f"{real / 'broken.png'}: not an image" in shown.err
    alone = run("score", made, real, "--metric", tmp_path / "diversity.yaml")
    assert alone.code == 0, "a score of one set does not read the other"
    for path in list(made.iterdir())[1:]:
        path.unlink()
    shown = run("score", made, real, "--metric", tmp_path / "kid.yaml")
    assert shown.code == 2
    assert shown.out == "", "nothing was scored"
    assert "at least 2 pictures of each, got 1 restored and 5 target" in shown.err


def test_a_metric_of_pictures_keeps_the_pairs(run: Run, unmatched: tuple[Path, Path], tmp_path: Path) -> None:
    shown = run("score", *unmatched, "--metric", tmp_path / "kid.yaml", "--metric", "core/psnr")
    assert shown.code == 2
    made, real = unmatched
    assert f"{made}: 5 pictures have none of their name in {real}: 0.png, 1.png, 2.png and 2 more" in shown.err
    assert f"{real}: 5 pictures have none of their name in {made}: deep/photo0.bmp, " in shown.err
    assert "Sets need no pairs: kid without other metrics" in shown.err
    assert "Sets need no pairs: FID and KID" in run("score", *unmatched, "--metric", "core/psnr").err


def test_many_problems_are_counted(run: Run, tmp_path: Path) -> None:
    for number in range(25):
        save(tmp_path / "restored" / f"{number}.png", CAT[:20, :20])
        save(tmp_path / "sharp" / f"{number}.png", CAT[:20, :21])
    shown = run("score", tmp_path / "restored", tmp_path / "sharp", "--metric", "core/psnr")
    assert "25 problems:" in shown.err
    assert shown.err.count("20×20, and") == 20
    assert "and 5 more" in shown.err


def test_a_metric_that_needs_options_shows_a_file_that_works(run: Run, unmatched: tuple[Path, Path], tmp_path: Path) -> None:
    shown = run("score", *unmatched, "--metric", "kid")
    assert shown.code == 2
    assert "features: missing" in shown.err
    _, _, text = shown.err.partition("such as kid.yaml for --metric kid.yaml:\n")
    shown = " ".join(run("score", "--help").out.split())
    assert " ".join(text.split()) in shown, "help shows the same"
    (tmp_path / "kid.yaml").write_text(text.replace("weights: imagenet", "weights: random"))
    assert run("score", *unmatched, "--metric", tmp_path / "kid.yaml").code == 0


def test_files_in_the_documents_are_of_networks_with_such_layers(registry: Registry) -> None:
    document = Path(__file__).parents[3] / "docs" / "metrics.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        options = dict(recipes.parse_yaml(block, "the block"))
        options["features"]["weights"] = "random"
        with torch.device("meta"):
            metric: Any = registry.create("set-metric", options.pop("part"), **options)
        assert metric.layer in metric.features.layers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["restored", "nosuch"], "nosuch: no such file"),
        (["restored", "sharp/c.png"], "give two files or two folders"),
        (["restored", "empty"], "no images in this folder"),
        (["restored", "sharp", "--metric", "core/pnsr"], "Did you mean core/psnr"),
        (["restored", "sharp", "--metric", "core/kidd"], "Did you mean core/kid"),
        (["restored", "sharp", "--metric", "core/kidd"], "restorekit list metric and restorekit list set-metric"),
        (
            ["restored", "sharp", "--metric", "typo.yaml"],
            "typo.yaml: part: no metric or set-metric called 'core/kidd'. Did you mean core/kid",
        ),
        (["restored", "sharp", "--metric", "nothing.yaml"], "nothing.yaml: no key part"),
        (["restored", "sharp", "--metric", "psnr", "--metric", "core/psnr"], "given twice"),
        (["restored", "sharp", "--metric", "bad.yaml"], "bad.yaml: scales"),
        (["restored", "sharp", "--metric", "core/fid"], "features"),
        (["restored", "sharp", "--metric", "core/psnr", "--csv", "sharp"], "sharp: a folder; give a file name"),
        (["restored", "sharp", "--device", "tpu"], "tpu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_explained(
    arguments: list[str], words: str, run: Run, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "typo.yaml").write_text("part: core/kidd")
    (tmp_path / "nothing.yaml").write_text("scales: 9")
    (tmp_path / "bad.yaml").write_text("{part: core/ms-ssim, scales: 9}")
    monkeypatch.chdir(tmp_path)
    shown = run("score", *arguments)
    assert shown.code == 2
    assert words in shown.err
    assert "Traceback" not in shown.err
