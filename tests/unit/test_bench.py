from __future__ import annotations

import inspect
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import skimage.data
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from restorekit import bench, discovery, seeding
from restorekit.bench import protocol, results, table
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import KEYS, SuiteData, load
from restorekit.errors import ConfigError, UserError
from restorekit.hooks import Part
from restorekit.images import Degraded
from restorekit.interfaces import Degradation, Metric, Restorer
from restorekit.modelfile import Model
from restorekit.recipes import recipe
from restorekit.registries import PluginInfo, RegisteredPart, Registry

ROOT = Path(__file__).parents[2]


class Smooth(Restorer):
    """A 3×3 mean."""

    def restore(self, degraded: Degraded) -> Tensor:
        padded = torch.nn.functional.pad(degraded.image, (1, 1, 1, 1), mode="replicate")
        return torch.nn.functional.avg_pool2d(padded, 3, 1)


class Oracle(Restorer):
    """Takes the noise away that it is told."""

    uses = frozenset({"noise", "sigma"})

    def restore(self, degraded: Degraded) -> Tensor:
        sigma = degraded.need("sigma").view(-1, 1, 1, 1)
        return degraded.image - sigma * degraded.need("noise")


class Random(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return torch.rand_like(degraded.image)


class Spoiler(Restorer):
    """Writes into its input."""

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image.mul_(0.9)


class NotANumber(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return torch.full_like(degraded.image, torch.nan)


class Half(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image[..., ::2, ::2]


class Grey(Restorer):
    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image.mean(1, keepdim=True)


class Landscape(Restorer):
    """Breaks down on pictures that are not square."""

    def restore(self, degraded: Degraded) -> Tensor:
        if degraded.image.shape[-1] != degraded.image.shape[-2]:
            raise RuntimeError("square | pictures\nonly")
        return degraded.image


class Homesick(Restorer):
    """Fits no device."""

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image

    def to(self, device: torch.device | str) -> Self:
        raise torch.OutOfMemoryError("no room")


class AbsoluteError(Metric):
    higher_is_better = False

    def forward(self, restored: Tensor, target: Tensor | None = None) -> Tensor:
        assert target is not None
        return (restored - target).abs().mean((1, 2, 3))


RESTORERS = (Smooth, Oracle, Random, Spoiler, NotANumber, Half, Grey, Landscape, Homesick)


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = discovery.registry()
    records = [Part("restorer", c.__name__.lower(), f"{__name__}:{c.__name__}", paper="none", licence="MIT") for c in RESTORERS]
    records.append(Part("metric", "error", f"{__name__}:AbsoluteError"))
    records.append(Part("generator", "box", "restorekit.builtin.network:Box", paper="the box paper", licence="the box licence"))
    return Registry(
        [*found.parts, *(RegisteredPart(record, "test", "test-plugin", "1.0", 1) for record in records)],
        [*found.plugins, PluginInfo("test", "test-plugin", "1.0", 1, len(records))],
        found.problems,
    )


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(skimage.data.astronaut()[:64, 180:244]).save(folder / "face.png")
    Image.fromarray(skimage.data.coffee()[100:156, 200:272]).save(folder / "cup.png")
    return folder


def write_suite(path: Path, photographs: Path, **changes: Any) -> str:
    content: dict[str, Any] = {
        "suite": 1,
        "data": {"images": str(photographs)},
        "degradations": {
            "weak": {"part": "core/gaussian-noise", "sigma": 0.05},
            "strong": {"part": "core/gaussian-noise", "sigma": 0.2},
        },
        "metrics": ["core/psnr", "core/ssim"],
        **changes,
    }
    path.write_text(json.dumps(content))  # JSON is YAML
    return str(path)


@pytest.fixture
def suite(tmp_path: Path, photographs: Path) -> str:
    return write_suite(tmp_path / "tiny.yaml", photographs)


def means(page: str, heading: str) -> dict[str, list[str]]:
    """Cells of the table under a heading, by method."""
    section = page.split(f"## {heading}")[1].split("## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("|")]
    column = lines[0].index("method")
    return {line[column]: line for line in lines[2:]}


def test_means_are_those_of_scikit_image(tmp_path: Path, suite: str, photographs: Path, registry: Registry) -> None:
    page = bench.run_suite(suite, ["test/smooth"], tmp_path / "out", device="cpu", registry=registry)
    expected: dict[str, dict[str, list[tuple[float, float]]]] = {"core/identity": {}, "test/smooth": {}}
    for degradation, sigma in (("weak", 0.05), ("strong", 0.2)):
        for file in photographs.iterdir():
            target = np.asarray(Image.open(file))
            sharp = torch.from_numpy(target / 255.0).permute(2, 0, 1)[None].float()
            rng = torch.Generator().manual_seed(seeding.derive("tiny", file.name, degradation))
            noise = registry.create("degradation", "core/gaussian-noise", sigma=sigma).sample(1, sharp.shape[1:], rng)["noise"]
            noisy = (sharp + sigma * noise).clamp(0, 1)
            for method, restorer in (("core/identity", None), ("test/smooth", Smooth())):
                restored = noisy if restorer is None else restorer.restore(Degraded(noisy))
                levels = np.rint(restored[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
                ssim = structural_similarity(
                    target, levels, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
                )
                psnr = peak_signal_noise_ratio(target, levels, data_range=255)
                expected[method].setdefault(degradation, []).append((psnr, ssim))

    text = page.read_text()
    overall = means(text, "All degradations")
    for column, heading in ((0, "core/psnr in dB ↑"), (1, "core/ssim ↑")):
        digits = 2 if column == 0 else 4
        by_degradation = means(text, f"{heading} by degradation")
        for method, found in expected.items():
            for i, degradation in enumerate(("weak", "strong")):
                mean = np.mean([scores[column] for scores in found[degradation]])
                shown = by_degradation[method][1 + i].split()[0]
                assert float(shown) == pytest.approx(mean, abs=0.51 * 10**-digits), (method, degradation)
            mean = np.mean([scores[column] for both in found.values() for scores in both])
            assert float(overall[method][3 + 2 * column].split()[0]) == pytest.approx(mean, abs=0.51 * 10**-digits)
        gain = np.mean([np.array(expected["test/smooth"][d])[:, column] for d in ("weak", "strong")]) - np.mean(
            [np.array(expected["core/identity"][d])[:, column] for d in ("weak", "strong")]
        )
        assert float(overall["test/smooth"][4 + 2 * column].split()[0]) == pytest.approx(gain, abs=0.51 * 10**-digits)
    for row in bench.rows(tmp_path / "out"):
        scores = expected[row["method"]][row["degradation"]]
        assert min(abs(row["value"] - score[row["metric"] == "core/ssim"]) for score in scores) < 1e-4


def test_every_score_is_a_row_and_identity_is_measured_first(tmp_path: Path, suite: str, registry: Registry) -> None:
    bench.run_suite(suite, ["smooth", "test/smooth", "test/oracle"], tmp_path / "out", registry=registry)
    found = bench.rows(tmp_path / "out")
    assert len(found) == 3 * 2 * 2 * 2
    assert list(dict.fromkeys(row["method"] for row in found)) == ["core/identity", "test/smooth", "test/oracle"]
    assert all(row.keys() == results.ROW_KEYS.keys() and row["status"] == "ok" and row["seconds"] > 0 for row in found)
    about = results.manifest(tmp_path / "out")
    assert about.keys() == set(results.MANIFEST_KEYS)
    assert all(entry.keys() == set(results.METHOD_KEYS) for entry in about["methods"].values())
    assert {name: (entry["blind"], entry["uses"]) for name, entry in about["methods"].items()} == {
        "core/identity": (True, []),
        "test/smooth": (True, []),
        "test/oracle": (False, ["noise", "sigma"]),
    }
    assert about["methods"]["test/smooth"]["environment"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert all(entry["seconds"]["images"] == 4 for entry in about["methods"].values())


def test_the_first_metric_sorts_in_its_own_direction(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    names = ["test/random", "test/oracle", "test/smooth"]
    for metrics in (["test/error", "core/psnr"], ["core/psnr", "test/error"]):
        suite = write_suite(tmp_path / "sorted.yaml", photographs, metrics=metrics)
        page = bench.run_suite(suite, names, tmp_path / metrics[0].replace("/", "-"), registry=registry).read_text()
        assert list(means(page, "All degradations")) == ["test/oracle", "test/smooth", "core/identity", "test/random"]
        assert "test/error ↓" in page
        assert "core/psnr in dB ↑" in page


def test_failures_are_rows_with_a_reason_and_have_no_rank(tmp_path: Path, suite: str, registry: Registry) -> None:
    page = bench.run_suite(
        suite,
        ["core/wiener", "test/notanumber", "test/half", "test/grey", "test/landscape", "test/homesick"],
        tmp_path / "out",
        registry=registry,
    ).read_text()
    reasons = {row["method"]: row["reason"] for row in bench.rows(tmp_path / "out") if row["status"] == "failed"}
    assert reasons["core/wiener"] == "needs the psf, which strong does not come with"
    assert "not finite" in reasons["test/notanumber"]
    assert "returned shape" in reasons["test/half"]
    assert "with 1 channels" in reasons["test/grey"]
    assert reasons["test/homesick"] == "OutOfMemoryError: no room"
    assert reasons["test/landscape"] == "RuntimeError: square | pictures only"
    overall, weak = means(page, "All degradations"), means(page, "core/psnr in dB ↑ by degradation")
    for method in ("core/wiener", "test/notanumber", "test/half", "test/grey"):
        assert overall[method][0] == overall[method][3] == weak[method][1] == table.NONE
        assert overall[method][-2] == "4 of 4"
    # One image of two fails: that method is not ranked, and the others keep their images.
    assert overall["test/landscape"][-2] == "2 of 4"
    assert overall["test/landscape"][0] == overall["test/landscape"][3] == table.NONE
    assert weak["test/landscape"][1] == "– (+0.00 on 1 images)"
    assert overall["core/identity"][0] == "1"
    assert "Compared, of 4 images × degradations: core/psnr: 4" in page
    scores = [row["value"] for row in bench.rows(tmp_path / "out") if (row["method"], row["metric"]) == ("core/identity", "core/psnr")]
    assert float(overall["core/identity"][3].split()[0]) == pytest.approx(np.mean(scores), abs=0.0051)
    assert "square \\| pictures only" in page
    about = results.manifest(tmp_path / "out")
    assert about["methods"]["core/wiener"]["seconds"] is None


def test_a_method_without_a_degradation_is_shown_but_not_ranked(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    degradations = {"blur": {"part": "core/gaussian-blur", "sigma": 1.0}, "noise": {"part": "core/gaussian-noise", "sigma": 0.01}}
    suite = write_suite(tmp_path / "mixed.yaml", photographs, degradations=degradations)
    page = bench.run_suite(suite, ["core/wiener", "test/smooth"], tmp_path / "out", registry=registry).read_text()
    overall, columns = means(page, "All degradations"), means(page, "core/psnr in dB ↑ by degradation")
    assert list(overall)[-1] == "core/wiener"
    assert overall["core/wiener"][0] == overall["core/wiener"][3] == table.NONE
    assert overall["core/wiener"][2] == "no: psf"
    assert {overall["core/identity"][0], overall["test/smooth"][0]} == {"1", "2"}
    assert columns["core/wiener"][2] == table.NONE
    assert float(columns["core/wiener"][1].split()[0]) > 20


def test_infinite_scores_are_text_counted_and_left_out(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    suite = write_suite(
        tmp_path / "s.yaml",
        photographs,
        degradations={"none": {"part": "core/gaussian-noise", "sigma": 0.0}, "some": {"part": "core/gaussian-noise", "sigma": 0.1}},
    )
    page = bench.run_suite(suite, ["test/smooth"], tmp_path / "out", registry=registry).read_text()
    for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    values = [row["value"] for row in bench.rows(tmp_path / "out") if row["method"] == "core/identity" and row["metric"] == "core/psnr"]
    finite = [value for value in values if value != "inf"]
    assert len(values) == 4
    assert len(finite) == 2
    cell = means(page, "All degradations")["core/identity"][3]
    assert cell.endswith("(2 inf)")
    assert float(cell.split()[0]) == pytest.approx(np.mean(finite), abs=0.0051)
    assert means(page, "core/psnr in dB ↑ by degradation")["core/identity"][1] == "inf (2 inf)"


def test_blur_sees_the_photograph_around_the_target(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    suite = write_suite(
        tmp_path / "shake.yaml",
        photographs,
        data={"images": str(photographs), "crop": 40},
        degradations={"shake": [{"part": "core/camera-shake", "length": [6.0, 9.0]}], "noise": {"part": "core/gaussian-noise"}},
    )
    (tmp_path / "inputs").mkdir()
    seen = 0
    for cell, target, degraded in Inputs(load(suite, registry=registry), tmp_path / "inputs"):
        levels = np.asarray(Image.open(photographs / cell.image)) / 255.0
        height, width = target.shape[-2:]
        assert max(height, width) == 40
        top, left = ((levels.shape[i] - size) // 2 for i, size in enumerate((height, width)))
        np.testing.assert_allclose(target[0].permute(1, 2, 0), levels[top : top + height, left : left + width], atol=1e-6)
        assert degraded.image.shape == target.shape
        if cell.degradation == "noise":
            assert degraded.params["noise"].shape == target.shape
            continue
        psf = degraded.params["psf"][0].double().numpy()
        r = psf.shape[0] // 2
        wide = levels[top - r : top + height + r, left - r : left + width + r]
        expected = np.stack([scipy.signal.convolve2d(wide[..., c], psf, "valid") for c in range(3)])
        np.testing.assert_allclose(degraded.image[0], expected, atol=1e-5)
        seen += 1
    assert seen == 2


class Reduced(Degradation):
    """Every second pixel, with a margin, a mask and a field."""

    params = ("field",)
    margin = 2
    scale = 2

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        return {"field": torch.rand(n, shape[0], -(-shape[1] // 2), -(-shape[2] // 2), generator=rng)}

    def apply(self, image: Tensor, params: Any) -> Degraded:
        small = image[..., ::2, ::2]
        return Degraded(small, mask=small[:, :1], params={**params, "field": small})


def test_margins_are_counted_in_pixels_of_the_result(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    parts = [*registry.parts, RegisteredPart(Part("degradation", "reduced", f"{__name__}:Reduced"), "test", "test-plugin", "1.0", 1)]
    suite = write_suite(tmp_path / "small.yaml", photographs, degradations={"small": "test/reduced"})
    for _, target, degraded in Inputs(load(suite, registry=Registry(parts, registry.plugins)), tmp_path):
        assert torch.equal(degraded.image, target[..., ::2, ::2])
        assert degraded.mask is not None
        assert torch.equal(degraded.mask, degraded.image[:, :1])
        assert torch.equal(degraded.params["field"], degraded.image)


def test_photographs_are_reduced_and_targets_have_eight_bits(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    suite = write_suite(tmp_path / "s.yaml", photographs, data={"images": str(photographs), "longest_side": 32})
    targets = {cell.image: target for cell, target, _ in Inputs(load(suite, registry=registry), tmp_path)}
    for name, target in targets.items():
        with Image.open(photographs / name) as opened:
            scale = 32 / max(opened.size)
            expected = opened.resize((round(opened.width * scale), round(opened.height * scale)), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(target[0].permute(1, 2, 0).mul(255).numpy().round(), np.asarray(expected))


def test_a_second_run_keeps_what_is_there_and_adds_the_new(tmp_path: Path, suite: str, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    before = bench.rows(out)
    page = bench.run_suite(suite, ["test/oracle"], out, registry=registry)
    after = bench.rows(out)
    assert after[: len(before)] == before  # seconds too: nothing was measured again
    assert {row["method"] for row in after[len(before) :]} == {"test/oracle"}
    assert set(means(page.read_text(), "All degradations")) == {"core/identity", "test/smooth", "test/oracle"}
    first = page.read_bytes()
    bench.run_suite(suite, ["test/oracle"], out, registry=registry)
    assert page.read_bytes() == first
    assert bench.leaderboard(out).encode() == first


def test_scores_do_not_depend_on_the_company_or_the_global_random_state(tmp_path: Path, suite: str, registry: Registry) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    bench.run_suite(suite, ["test/random"], tmp_path / "alone", registry=registry)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    bench.run_suite(suite, ["test/spoiler", "test/smooth", "test/random"], tmp_path / "together", registry=registry)

    def scores(name: str) -> dict[Any, Any]:
        return {
            (row["method"], row["image"], row["degradation"], row["metric"]): row["value"]
            for row in bench.rows(tmp_path / name)
            if row["method"] in ("core/identity", "test/random")
        }

    assert scores("alone") == scores("together")
    assert results.manifest(tmp_path / "alone")["inputs"] == results.manifest(tmp_path / "together")["inputs"]


def test_the_spoilt_input_of_a_timing_call_is_not_scored(tmp_path: Path, suite: str, registry: Registry) -> None:
    bench.run_suite(suite, ["test/spoiler"], tmp_path / "out", registry=registry)
    (tmp_path / "inputs").mkdir()
    psnr = registry.create("metric", "core/psnr")
    found = {(r["image"], r["degradation"]): r["value"] for r in bench.rows(tmp_path / "out") if r["method"] == "test/spoiler"}
    ssim = registry.create("metric", "core/ssim")
    for cell, target, degraded in Inputs(load(suite, registry=registry), tmp_path / "inputs"):
        assert found[cell.image, cell.degradation] == pytest.approx(float(ssim(degraded.image * 0.9, target)), abs=1e-6)
        assert psnr(degraded.image, target).isfinite().all()


def test_another_protocol_is_refused_and_nothing_is_lost(tmp_path: Path, suite: str, photographs: Path, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    write_suite(Path(suite), photographs, metrics=["core/psnr"])
    with pytest.raises(UserError, match=r"different: metrics, parts.*another --out"):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    write_suite(Path(suite), photographs, data={"images": str(photographs), "crop": 32})
    with pytest.raises(UserError, match=r"different: data, targets.*another --out"):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_the_protocol_follows_content_and_not_places_or_spelling(tmp_path: Path, suite: str, photographs: Path, registry: Registry) -> None:
    bench.run_suite(suite, [], tmp_path / "one", registry=registry)
    moved = tmp_path / "elsewhere"
    shutil.copytree(photographs, moved / "pictures")
    (moved / "tiny.yaml").write_text(
        "# the same suite\nmetrics: [psnr, {part: core/ssim}]\nsuite: 1\ndata: {crop: null, images: pictures}\n"
        "degradations:\n  weak: {sigma: 0.05, part: core/gaussian-noise}\n  strong: {part: gaussian-noise, sigma: 0.2}\n"
    )
    bench.run_suite(str(moved / "tiny.yaml"), [], tmp_path / "two", registry=registry)
    one, two = (results.manifest(tmp_path / name) for name in ("one", "two"))
    assert one["protocol"] == two["protocol"]
    assert one["inputs"] == two["inputs"]
    picture = moved / "pictures" / "cup.png"
    pixels = np.asarray(Image.open(picture)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    bench.run_suite(str(moved / "tiny.yaml"), [], tmp_path / "three", registry=registry)
    assert results.manifest(tmp_path / "three")["protocol"] != one["protocol"]


def test_a_model_file_is_described_and_measured_again_when_it_changes(
    tmp_path: Path, suite: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restorekit.builtin.network import Box

    monkeypatch.setattr(discovery, "registry", lambda: registry)  # core/network looks its network up among the installed parts
    box, file, out = Box(), tmp_path / "mine.safetensors", tmp_path / "out"
    made = recipe({"recipe": 1, "generator": {"part": "test/box"}, "losses": ["core/l1"]}).check(registry)
    Model(box, made).save(file)
    page = bench.run_suite(suite, [str(file)], out, registry=registry).read_text()
    entry = results.manifest(out)["methods"]["mine"]
    assert entry["network"]["part"] == "test/box"
    assert entry["network"]["parameters"] == 1
    assert entry["options"]["file"]["file"] == "mine.safetensors"
    assert (entry["paper"], entry["licence"]) == ("the box paper", "the box licence")
    assert means(page, "All degradations")["mine"][-1] == "the box licence"
    before = bench.rows(out)
    box.factor.data.fill_(0.5)
    Model(box, made).save(file)
    bench.run_suite(suite, [str(file)], out, registry=registry)
    after = bench.rows(out)
    kept = [row for row in before if row["method"] == "core/identity"]
    assert [row for row in after if row["method"] == "core/identity"] == kept
    assert [r["value"] for r in after if r["method"] == "mine"] != [r["value"] for r in before if r["method"] == "mine"]


def test_two_methods_of_one_name_are_refused(tmp_path: Path, suite: str, registry: Registry) -> None:
    for folder, part in (("a", "test/smooth"), ("b", "test/random")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(f"part: {part}\n")
    with pytest.raises(UserError, match="two methods would be called mine"):
        bench.run_suite(suite, [str(tmp_path / f / "mine.yaml") for f in ("a", "b")], tmp_path / "out", registry=registry)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_images_gets_the_degradations_of_core_photos(tmp_path: Path, registry: Registry) -> None:
    folder = tmp_path / "bundled"  # named like the word for scikit-image's photographs
    folder.mkdir()
    Image.fromarray(skimage.data.coffee()[100:190, 200:300]).save(folder / "cup.png")
    page = bench.run_suite(str(folder), [], tmp_path / "out", registry=registry)
    default = load("core/photos", registry=registry)
    assert results.manifest(tmp_path / "out")["degradations"] == list(default.degradations)
    assert {row["image"] for row in bench.rows(tmp_path / "out")} == {"cup.png"}
    assert page.read_text().startswith("# bundled\n")


def test_a_relative_folder_is_not_the_bundled_photographs(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundled").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("bundled", registry=registry).folder is not None
    assert load("core/photos", registry=registry).folder is None


@pytest.mark.parametrize("file", [*(ROOT / "benchmarks" / "suites").glob("*.yaml"), "core/photos"], ids=lambda f: Path(f).stem)
def test_suites_that_come_with_the_project_are_sound(file: Path | str, registry: Registry) -> None:
    found = load(str(file), registry=registry)
    assert list(found.metrics)[:2] == ["core/psnr", "core/ssim"]


def test_all_mistakes_of_a_suite_are_shown_at_once(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "suit: 1\ndata: {images: bundled, crop: 3, longest: 4}\nmetrics: [core/pnsr, core/ssim, core/ssim, 2001-01-01]\n"
        "degradations: {shake: [{part: core/camera-shake, lenght: 3.0}], 'a b': core/jpeg,\n"
        "  back: {part: core/gaussian-noise, sigma: [2.0, 1.0]}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(str(file), registry=registry)
    problems = "\n".join(caught.value.problems)
    for words in (
        "suit: not a key of a suite. Did you mean suite?",
        "suite: got None",
        "data.longest: not an option of data. Did you mean longest_side",
        "data.crop: got 3; expected int >= 16",
        "no metric called 'core/pnsr'. Did you mean core/psnr",
        "metrics.2: core/ssim is there already",
        "metrics.3: got",
        "steps.0.lenght: not an option of core/camera-shake. Did you mean length",
        "degradations.a b: a name is made of",
        "degradations.back: sigma: the range runs",
    ):
        assert words in problems, problems
    assert all(problem.startswith(f"{file}: ") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("core/fotos", "Did you mean core/photos"),
        ("photoz", "folder of images"),
        ("missing/folder", "no"),
        ("missing.yaml", "no such file"),
        ("empty", "no images in this folder"),
        ("face.png", "a suite is a name, a YAML file or a folder"),
    ],
)
def test_unknown_suites(
    tmp_path: Path, name: str, words: str, registry: Registry, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copy(photographs / "face.png", tmp_path)
    with pytest.raises(UserError, match=words):
        bench.run_suite(name, [], tmp_path / "out", registry=registry)
    assert not (tmp_path / "out").exists()


def test_unusable_photographs_are_all_named_and_nothing_is_written(tmp_path: Path, photographs: Path, registry: Registry) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(photographs, folder)
    (folder / "broken.png").write_bytes((folder / "face.png").read_bytes()[:500])
    Image.new("RGB", (20, 9)).save(folder / "tiny.png")
    with pytest.raises(UserError) as caught:
        bench.run_suite(write_suite(tmp_path / "s.yaml", folder), [], tmp_path / "out", registry=registry)
    assert "broken.png" in str(caught.value)
    assert "tiny.png: 20×9 is too small" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "words"),
    [("core/wienr", "Did you mean core/wiener"), ("nothing.safetensors", "no such model file"), ("test/box", "generator")],
)
def test_methods_that_are_none(tmp_path: Path, suite: str, method: str, words: str, registry: Registry) -> None:
    with pytest.raises(UserError, match=words):
        bench.run_suite(suite, [method], tmp_path / "out", registry=registry)
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_and_a_device_that_is_not_there(tmp_path: Path, suite: str, registry: Registry) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file; --out needs a folder"):
        bench.run_suite(suite, [], tmp_path / "file", registry=registry)
    with pytest.raises(UserError, match="cannot be written"):
        bench.run_suite(suite, [], tmp_path / "file" / "below", registry=registry)
    with pytest.raises(UserError, match="--device gpu"):
        bench.run_suite(suite, [], tmp_path / "out", device="gpu", registry=registry)


def test_progress_stays_off_the_standard_output(tmp_path: Path, suite: str, registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run_suite(suite, ["test/smooth"], tmp_path / "out", progress=True, registry=registry)
    assert capsys.readouterr().out == ""


def _spoil(rows: list[str], how: str) -> list[str]:
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
    file.write_text("\n".join(_spoil(file.read_text().splitlines(), how)) + "\n")
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"rows\.jsonl.*another --out"):
        bench.leaderboard(out)
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert file.read_bytes() == before


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
        (whole.replace('"format": 1', '"format": 9'), "format 9"),
        ('{"format": 1}', "missing"),
        (whole.replace('"licence"', '"license"'), "methods: core/identity: incomplete"),
    ):
        manifest.write_text(text)
        with pytest.raises(UserError, match=words):
            bench.leaderboard(out)
        with pytest.raises(UserError, match=words):
            bench.run_suite(suite, [], out, registry=registry)


def test_a_run_killed_between_its_two_files_is_measured_again(tmp_path: Path, suite: str, registry: Registry) -> None:
    out = tmp_path / "out"
    bench.run_suite(suite, [], out, registry=registry)
    manifest = (out / "manifest.json").read_bytes()
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    (out / "manifest.json").write_bytes(manifest)  # the rows of test/smooth are there, the manifest does not know it
    assert "test/smooth" not in bench.leaderboard(out)
    bench.run_suite(suite, ["test/smooth"], out, registry=registry)
    assert len(bench.rows(out)) == 2 * 8
    assert "test/smooth" in bench.leaderboard(out)


def _rows(values: dict[str, dict[tuple[str, str], float | None]]) -> list[dict[str, Any]]:
    return [
        {
            "method": method,
            "image": image,
            "degradation": degradation,
            "metric": "m",
            "status": "failed" if value is None else "ok",
            "value": value if value is None or math.isfinite(value) else str(value),
        }
        for method, found in values.items()
        for (image, degradation), value in found.items()
    ]


def test_intervals_agree_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(0).normal(30, 2, 24)
    found = table.Scores(_rows({"a": {(str(i), "d"): float(v) for i, v in enumerate(values)}}), "m", 1).mean("a", ["d"])
    assert found is not None
    assert found.value == pytest.approx(values.mean())
    name = "rng" if "rng" in inspect.signature(scipy.stats.bootstrap).parameters else "random_state"  # renamed in scipy 1.15
    seed = {name: np.random.default_rng(2)}
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", **seed).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.1)
    assert expected.high - expected.low > 1


def test_intervals_draw_whole_images() -> None:
    # Four degradations of one image say no more than one: the interval must not shrink.
    values = np.random.default_rng(0).normal(30, 2, 12)
    one = table.Scores(_rows({"a": {(str(i), "d"): float(v) for i, v in enumerate(values)}}), "m", 1).mean("a", ["d"])
    cells = {(str(i), d): float(v) for i, v in enumerate(values) for d in "defg"}
    four = table.Scores(_rows({"a": cells}), "m", 1).mean("a", list("defg"))
    assert one is not None
    assert four is not None
    assert (four.low, four.high) == pytest.approx((one.low, one.high))
    single = table.Scores(_rows({"a": {("1", d): 3.0 for d in "de"}}), "m", 1).mean("a", ["d", "e"])
    assert single is not None
    assert single.low is None


def test_a_method_that_fails_somewhere_is_not_compared_there() -> None:
    base = {("1", "d"): 1.0, ("2", "d"): 2.0, ("3", "d"): 30.0, ("1", "e"): 5.0, ("2", "e"): None}
    scores = table.Scores(
        _rows({table.BASELINE: base, "b": {**base, ("3", "d"): None}, "c": {**base, ("1", "d"): 7.0, ("1", "e"): None}}), "m", 1
    )
    assert scores.compared(["d"]) == {("1", "d"), ("2", "d"), ("3", "d")}
    assert scores.compared(["e"]) == {("1", "e")}  # nobody has the other image
    found = scores.mean(table.BASELINE, ["d", "e"])
    assert found is not None
    assert found.value == pytest.approx(38 / 4)
    assert scores.mean("b", ["d"]) is None
    assert scores.mean("c", ["d", "e"]) is None
    gain, pairs = scores.gain("b", ["d"])
    assert gain is not None
    assert (gain.value, pairs) == (0.0, 2)
    gain, pairs = scores.gain("c", ["d"])
    assert gain is not None
    assert (gain.value, pairs) == (2.0, 3)
    assert scores.gain("c", ["e"]) == scores.gain(table.BASELINE, ["d"]) == (None, 0)


def test_the_package_is_found_without_torch() -> None:
    code = (
        "import sys, restorekit.bench; from restorekit import registry; registry().find('suite', 'core/photos').load();"
        "restorekit.bench.leaderboard; restorekit.bench.rows; print('torch' in sys.modules, 'kornia' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_readme_describes_every_key() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text()
    keys = [*KEYS, *SuiteData.__annotations__, *results.ROW_KEYS, *results.MANIFEST_KEYS, *results.METHOD_KEYS]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_the_readme_names_every_ingredient_of_the_protocol(tmp_path: Path, suite: str, registry: Registry) -> None:
    plan = load(suite, registry=registry)
    ingredients = protocol.manifest(plan, Inputs(plan, tmp_path), registry)["ingredients"]
    section = (ROOT / "benchmarks" / "README.md").read_text().split("## Protocol hash")[1].split("## ")[0]
    assert [key for key in ingredients if f"`{key}`" not in section] == []
