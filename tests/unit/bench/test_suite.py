from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from restorekit import bench
from restorekit.bench import protocol, results
from restorekit.bench.dataset import SuiteData
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import KEYS, load
from restorekit.errors import ConfigError, UserError
from restorekit.recipes import load_yaml
from restorekit.registries import Registry

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
WriteSuite = Callable[..., str]


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


def test_every_shipped_suite_is_registered_and_sound(registry: Registry) -> None:
    files = {part.load(): part.name for part in registry.of_kind("suite") if part.namespace == "core"}
    assert set(files) == set((ROOT / "restorekit" / "bench" / "suites").glob("*.yaml"))
    for file, name in files.items():
        reads_kernels = "psf-file" in file.read_text()
        if reads_kernels and not DATA.is_dir():
            continue
        found = load(name, registry=registry)
        assert list(found.metrics)[:2] == ["core/psnr", "core/ssim"], name
        assert not any(metric.downloads for metric in found.metrics.values()), name
        assert found.data.images == "bundled" or found.data.origin, name
        assert found.data.images == "bundled" or found.data.checksums or found.data.count, name


def test_what_core_photos_is_made_of(registry: Registry) -> None:
    found = load("core/photos", registry=registry)
    given = {name: set(part.params) for name, part in found.degradations.items() if part is not None}
    assert [name for name, params in given.items() if "mask" in params] == ["strokes"]
    assert [name for name, params in given.items() if "psf" in params] == ["shake-short", "shake-long"]
    assert len(found.sources()) == 10


def test_a_shipped_suite_by_its_file_is_the_same_suite(tmp_path: Path, registry: Registry) -> None:
    by_name = load("core/photos", registry=registry)
    for file in (by_name.beside / "photos.yaml", ROOT / "benchmarks" / "suites" / "photos.yaml"):
        assert load(str(file), registry=registry).name == "core/photos"
    copied = shutil.copy(by_name.beside / "photos.yaml", tmp_path / "photos.yaml")
    assert load(str(copied), registry=registry).name == "photos"


def test_all_mistakes_of_a_suite_are_shown_at_once(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "suit: 1\ndata: {images: bundled, crop: 3, longest: 4}\nmetrics: [core/pnsr, core/ssim, core/ssim, 2001-01-01]\n"
        "seeds: 0\nalignment: centre\n"
        "degradations: {shake: [{part: core/camera-shake, lenght: 3.0}], 'a b': core/jpeg,\n"
        "  back: {part: core/gaussian-noise, sigma: [2.0, 1.0]}, levin: {part: core/psf-file, file: no.npz}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(str(file), registry=registry)
    problems = "\n".join(caught.value.problems)
    for words in (
        "suit: not a key of a suite. Did you mean suite?",
        "suite: got None",
        "seeds: got 0",
        "alignment: got 'centre'; expected one of homography, shift, or null",
        "data.longest: not an option of data. Did you mean longest_side",
        "data.crop: got 3; expected int >= 16",
        "no metric called 'core/pnsr'. Did you mean core/psnr",
        "metrics.2: core/ssim is there already",
        "metrics.3: got",
        "steps.0.lenght: not an option of core/camera-shake. Did you mean length",
        "degradations.a b: a name is made of",
        "degradations.back: sigma: the range",
        "degradations.levin: ",
    ):
        assert words in problems, (words, problems)
    assert all(problem.startswith(f"{file}: ") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "give images"),
        ({"images": "a", "dataset": "b"}, "one of the two"),
        ({"images": "a", "input": "b"}, "input and target belong together"),
        ({"images": "a", "input": "b", "target": "c", "pairs": "d"}, "not both"),
        ({"images": "bundled", "pairs": "d"}, "no damaged counterparts"),
        ({"images": "a", "pairs": "d", "longest_side": 100}, "would change the damage"),
        ({"images": "a", "targets": 3}, "only for pictures that are damaged already"),
    ],
)
def test_data_that_contradicts_itself(
    tmp_path: Path, data: dict[str, object], words: str, registry: Registry, write_suite: WriteSuite
) -> None:
    with pytest.raises(ConfigError, match=f"data: .*{words}"):
        load(write_suite(tmp_path / "s.yaml", data=data, degradations=None if "pairs" in data else {"n": "core/jpeg"}), registry=registry)


def test_pairs_have_no_degradations_and_no_seeds(tmp_path: Path, registry: Registry, write_suite: WriteSuite) -> None:
    suite = write_suite(tmp_path / "s.yaml", data={"images": ".", "pairs": "list.txt"}, seeds=2)
    with pytest.raises(ConfigError, match=r"(?s)degradations: the pictures of this suite are damaged already.*seeds: "):
        load(suite, registry=registry)


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


def test_a_kernel_file_is_found_beside_the_suite_and_enters_the_protocol(
    tmp_path: Path, registry: Registry, write_suite: WriteSuite
) -> None:
    kernels = tmp_path / "kernels.npz"
    np.savez(kernels, a=np.eye(3), b=np.ones((5, 5)))
    steps = [{"part": "core/psf-file", "file": "kernels.npz", "kernel": "a"}, {"part": "core/gaussian-noise", "sigma": 0.01}]
    suite = write_suite(tmp_path / "s.yaml", degradations={"blur": steps})
    found = load(suite, registry=registry)
    assert list(found.files) == ["kernels.npz"]
    first = protocol.manifest(found, Inputs(found, tmp_path / "i"), registry)
    assert first["content"]["degradations"]["blur"]["steps"][0]["file"] == "kernels.npz"  # as written: the place does not matter
    np.savez(kernels, a=np.eye(3), b=np.zeros((5, 5)) + 2)
    found = load(suite, registry=registry)
    assert protocol.manifest(found, Inputs(found, tmp_path / "j"), registry)["protocol"] != first["protocol"]


def test_the_package_is_found_without_torch() -> None:
    code = (
        "import sys, restorekit as rk; rk.bench; rk.registry().find('suite', 'core/photos').load();"
        "rk.bench.leaderboard; rk.bench.rows; rk.bench.diff; rk.bench.page; print('torch' in sys.modules, 'kornia' in sys.modules)"
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


def test_the_suite_in_the_readme_works(tmp_path: Path, registry: Registry) -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text()
    (example,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "suite:" in block)
    file = tmp_path / "mine.yaml"
    file.write_text(example)
    assert load(str(file), registry=registry).content["suite"] == load_yaml(file)["suite"]


def test_where_the_data_set_is_not_there_no_file_beside_it_is_missed(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UserError, match=r"set14: no such folder.*--data DIR"):
        load("core/set14-levin", registry=registry, data=tmp_path)
    (tmp_path / "set14").mkdir()
    with pytest.raises(ConfigError, match=r"levin09\.npz: no file of kernels"):
        load("core/set14-levin", registry=registry, data=tmp_path)
