"""What people install: wheels, not editable, in an environment that shares only third-party packages with this one.

An editable install reads the checkout, and so hides recipes, weights and templates that a wheel lacks.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import skimage
from packaging.requirements import Requirement
from PIL import Image

from restorekit.hooks import KINDS
from restorekit.registries import Registry
from restorekit.scaffolding import new_plugin

ROOT = Path(__file__).parents[1]
PROJECTS = {folder.name: folder for folder in [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]}
NAMES = ["core" if folder == ROOT else name for name, folder in PROJECTS.items()]
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".webp"}
TRAINED = ("generator", "critic", "adversarial", "loss", "degradation", "features", "recipe")
"""Kinds of part that take part in training."""
SHIPPED = ROOT / "plugins/deblurgan/restorekit_deblurgan/weights"


@dataclass(frozen=True)
class Built:
    """The two archives of a project and where they come from."""

    folder: Path
    wheel: Path
    sdist: Path

    @cached_property
    def members(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    @cached_property
    def packages(self) -> list[Path]:
        return [path.parent for path in self.folder.glob("restorekit*/__init__.py")]

    def info(self, name: str) -> str:
        """One file of the wheel's ``.dist-info`` folder."""
        (found,) = [content for path, content in self.members.items() if path.endswith(f".dist-info/{name}")]
        return found.decode()

    @cached_property
    def metadata(self) -> Message:
        return Parser().parsestr(self.info("METADATA"))


@dataclass(frozen=True)
class Environment:
    """The clean environment and the wheels in it."""

    folder: Path
    built: dict[str, Built]

    @property
    def scripts(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    def install(self, *wheels: Path) -> None:
        """Make it, with these wheels and, from where the tests run, everything that is not ours."""
        venv.create(self.folder, symlinks=os.name != "nt")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.scripts / "python")]
        run([*pip, "install", "-q", "--no-index", "--no-deps", *map(str, wheels)], self.folder)
        # Folders named in a .pth file are not searched for .pth files of their own, so editable installs stay behind.
        (purelib,) = self.folder.glob("[Ll]ib/**/site-packages")
        (purelib / "third_party.pth").write_text("\n".join(site.getsitepackages()))

    def run(self, *command: str, check: bool = True, folder: Path | None = None) -> str:
        return run([str(self.scripts / command[0]), *command[1:]], folder or self.folder, check=check)

    def python(self, code: str) -> Any:
        """What `code` leaves in the variable ``result``."""
        return json.loads(self.run("python", "-I", "-c", f"import json\n{code}\nprint(json.dumps(result))"))


def run(command: list[str], folder: Path, *, check: bool = True) -> str:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "RESTOREKIT"))}
    nowhere = "http://127.0.0.1:9"  # the discard port: a download fails at once instead of passing unseen
    offline = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere)
    done = subprocess.run(command, cwd=folder, env=keep | offline, capture_output=True, text=True, timeout=1800)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """The core and every bundled plugin: a source archive each, and the wheel made from that archive."""
    found = {}
    for name, folder in zip(NAMES, PROJECTS.values(), strict=True):
        out = tmp_path_factory.mktemp(f"built-{name}")
        run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(folder)], out)
        (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
        found[name] = Built(folder, wheel, sdist)
    return found


@pytest.fixture(scope="session")
def clean(built: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh environment with the wheels installed."""
    environment = Environment(tmp_path_factory.mktemp("clean"), built)
    environment.install(*(b.wheel for b in built.values()))
    return environment


def is_test(path: str | PurePosixPath) -> bool:
    """Whether a file is a test; the templates of new plugins' tests are none."""
    parts = PurePosixPath(path).parts
    return "tests" in parts and "templates" not in parts


def test_every_project_of_the_checkout_is_built() -> None:
    assert {"core", "deblurgan", "dcgan", "spandrel", "style"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_holds_its_packages_whole_and_nothing_else(built: dict[str, Built], name: str) -> None:
    project = built[name]
    expected = {
        path.relative_to(project.folder).as_posix()
        for package in project.packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {path for path in project.members if ".dist-info/" not in path}
    assert inside - expected == set(), "not of the package"
    assert expected - inside == set(), "left out of the wheel: git-ignored?"
    assert not [path for path in inside if is_test(path) or PurePosixPath(path).suffix.lower() in PICTURES]
    assert project.wheel.stat().st_size < 16e6, "in bytes; two models are in one of them"


@pytest.mark.parametrize("name", NAMES)
def test_a_source_archive_holds_what_the_wheel_is_made_from(built: dict[str, Built], name: str) -> None:
    project = built[name]
    with tarfile.open(project.sdist) as archive:
        inside = {PurePosixPath(*PurePosixPath(member.name).parts[1:]) for member in archive.getmembers() if member.isfile()}
    packages = {package.name for package in project.packages}
    around = {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"}
    assert {str(path) for path in inside if path.parts[0] not in packages} <= around
    assert not [path for path in inside if is_test(path) or path.suffix.lower() in PICTURES]


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_says_its_licence_and_fits_the_other_wheels(built: dict[str, Built], name: str) -> None:
    project = built[name]
    assert project.metadata["License-Expression"] == "Apache-2.0"
    assert project.info("licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert project.metadata.get_payload().strip(), "no description: the README is empty"
    versions = {other.metadata["Name"]: other.metadata["Version"] for other in built.values()}
    needed = [Requirement(text) for text in project.metadata.get_all("Requires-Dist", [])]
    for requirement in needed:
        if requirement.name in versions:
            assert requirement.specifier.contains(versions[requirement.name], prereleases=True), requirement
    assert name == "core" or "restorekit" in {requirement.name for requirement in needed}


def test_the_environment_runs_the_wheels_and_not_the_checkout(clean: Environment) -> None:
    packages = sorted(package.name for project in clean.built.values() for package in project.packages)
    distributions = sorted(project.metadata["Name"] for project in clean.built.values())
    found = clean.python(
        "import importlib, importlib.metadata as metadata, torch\n"
        f"result = [importlib.import_module(name).__file__ for name in {packages}]\n"
        f"result += [str(metadata.distribution(name).locate_file('')) for name in {distributions}]\n"
        "result.append(torch.__file__)"
    )
    *ours, shared = (Path(path).resolve() for path in found)
    assert all(path.is_relative_to(clean.folder.resolve()) for path in ours), ours
    assert not shared.is_relative_to(clean.folder.resolve())


def test_every_plugin_is_healthy(clean: Environment) -> None:
    reported = {plugin["namespace"]: plugin for plugin in json.loads(clean.run("restorekit", "plugins", "--json"))}
    wanted = {}
    for project in clean.built.values():
        entries = configparser.ConfigParser()
        entries.read_string(project.info("entry_points.txt"))
        for namespace in entries["restorekit"]:
            wanted[namespace] = (project.metadata["Name"], project.metadata["Version"], "ok")
    assert {name: (p["distribution"], p["version"], p["health"]) for name, p in reported.items() if name in wanted} == wanted


def test_recipes_and_suites_are_found(clean: Environment) -> None:
    assert "compact" in clean.run("restorekit", "info", "deblurgan/default")
    found = clean.python(
        "import restorekit as rk\n"
        "parts = [*rk.registry().of_kind('recipe'), *rk.registry().of_kind('suite')]\n"
        "result = {part.name: str(part.load()) for part in parts}"
    )
    assert {"deblurgan/default", "deblurgan/v1", "dcgan/photos64", "core/photos"} <= found.keys()
    assert all(Path(path).resolve().is_relative_to(clean.folder.resolve()) for path in found.values())


def test_a_photograph_is_restored_by_the_shipped_model(clean: Environment, tmp_path: Path) -> None:
    assert list(SHIPPED.glob("*.safetensors")), f"the shipped model is not in {SHIPPED.relative_to(ROOT)}"
    photograph = tmp_path / "photograph.png"
    with Image.open(Path(skimage.data_dir) / "astronaut.png") as whole:
        whole.convert("RGB").crop((150, 20, 310, 148)).save(photograph)
    command = ["restore", str(photograph), "--device", "cpu", "-o"]
    clean.run("restorekit", *command, str(tmp_path / "wheel.png"))
    run([sys.executable, "-m", "restorekit", *command, str(tmp_path / "checkout.png")], tmp_path)
    given, wheel, checkout = (
        np.asarray(Image.open(path), dtype=int) for path in (photograph, tmp_path / "wheel.png", tmp_path / "checkout.png")
    )
    assert wheel.shape == given.shape
    assert np.abs(wheel - given).max() > 0, "nothing was restored"
    assert np.abs(wheel - checkout).max() <= 1, "one level of 255 is left to rounding"


def commands(readme: str) -> list[list[str]]:
    """What a README tells to type, save for pip."""
    lines = "\n".join(re.findall(r"^```\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)).splitlines()
    return [shlex.split(line) for line in lines if line and not line.startswith("pip ")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_does_what_its_readme_says_untouched(built: dict[str, Built], tmp_path: Path, kind: str) -> None:
    folder = new_plugin(f"new-{kind}", kind=kind, into=tmp_path, registry=Registry())
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(folder)], tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    environment = Environment(tmp_path / "environment", built)
    environment.install(*(project.wheel for project in built.values()), wheel)
    with Image.open(Path(skimage.data_dir) / "astronaut.png") as whole:
        for name in ("photo.jpg", "sharp/one.png", "restored/one.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            whole.convert("RGB").crop((150, 20, 310, 180)).save(folder / name)
        (folder / "my-photos").mkdir()
        for i in range(12):
            whole.convert("RGB").crop((8 * i, 0, 8 * i + 400, 400)).save(folder / f"my-photos/{i}.jpg")
    typed = commands((folder / "README.md").read_text())
    assert ["restorekit", "check", f"new-{kind}"] in typed
    assert any("train" in command for command in typed) == (kind in TRAINED)
    for command in typed:
        environment.run(*(["python", "-m", "pytest"] if command == ["pytest"] else command), folder=folder)
    assert {path: path.read_bytes() for path in before} == before
