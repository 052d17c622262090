"""Discovery: every broken plugin is one clear problem, and the good ones beside it still load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKES = Path(__file__).parents[1] / "fake_plugins"

REPORT = """
import json
import restorekit as rk
registry = rk.registry()
try:
    registry.find("loss", "broken-import/l1")
except rk.UserError as fault:
    lookup = str(fault)
print(json.dumps({
    "problems": {p.namespace: [p.distribution, p.version, p.stage, p.cause, p.path] for p in registry.problems},
    "places": {p.namespace: p.path for p in registry.plugins},
    "plugins": {p.namespace: p.parts for p in registry.plugins},
    "lookup": lookup,
}))
"""

PROBLEMS = {
    "broken-import": (
        "import",
        "importing fake_broken_import failed: ModuleNotFoundError: No module named 'a_package_that_is_not_installed'",
    ),
    "exits": ("import", "importing fake_exits failed: SystemExit: no licence key"),
    "broken-hook": ("collect", "restorekit_parts() failed: KeyError: 'weights'"),
    "misspelt-hook": ("hook", "fake_misspelt_hook.restorekit_part is no hook of restorekit. Did you mean restorekit_parts?"),
    "no-hook": ("hook", "fake_no_hook has no function restorekit_parts marked with @hookimpl"),
    "hook-argument": ("hook", "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec"),
    "outdated": ("interface", "written for interface 0, and this restorekit 0.1.0 supports 1: pip install --upgrade fake-outdated."),
    "too-new": ("interface", "written for interface 99, and this restorekit 0.1.0 supports 1: pip install --upgrade restorekit."),
    "no-interface": ("interface", "does not say which interface it was written for: add RESTOREKIT_INTERFACE = 1"),
    "twice": (
        "namespace",
        f"fake-duplicate-one 1.0 in {FAKES / 'duplicate_one'} and fake-duplicate-two 1.0 in {FAKES / 'duplicate_two'} both",
    ),
    "two": ("namespace", "both claim the namespace two, so neither is loaded: uninstall one of them."),
    "bad-kind": ("collect", "part 'l1' has the unknown kind 'losses'. Did you mean loss?"),
    "bad-record": ("collect", "part 'l1': kind is ['loss']; expected text"),
    "bad-target": ("collect", "part 'l1': the target is 'module:object'; got 'restorekit.builtin.losses.L1'"),
    "bad-name": ("collect", "part 'core/l1': a name is lower-case letters"),
    "duplicate-part": ("collect", "loss duplicate-part/l1 is offered twice: by fake-duplicate-part. Rename one of the two"),
    "not-a-part": ("collect", "restorekit_parts() yielded ('loss', 'l1', 'restorekit.builtin.losses:L1'); expected restorekit.hooks.Part"),
}

SLOW = {"heavy", "slow"}
"""Fakes that take their time when loaded; the conformance tests use them."""

GOOD = {"good", "zebra", "core", "broken-target", "private", "no-metadata", "faulty", "noisy", "meddling", "renamed"}


def report(*folders: Path, only: str = "") -> dict:
    path = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", REPORT], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, "RESTOREKIT_PLUGINS": only}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def everything() -> dict:
    return report(*sorted(path for path in FAKES.iterdir() if path.is_dir() and path.name not in SLOW))


@pytest.mark.parametrize("namespace", PROBLEMS)
def test_a_broken_plugin_is_one_clear_problem(everything: dict, namespace: str) -> None:
    distribution, version, stage, cause, path = everything["problems"][namespace]
    assert (stage, PROBLEMS[namespace][1] in cause) == (PROBLEMS[namespace][0], True), cause
    assert "fake-" in distribution
    assert "1.0" in version
    assert "\n" not in cause
    assert str(FAKES) in path


def test_every_fake_is_either_good_or_a_problem_that_a_test_knows(everything: dict) -> None:
    assert set(everything["problems"]) == set(PROBLEMS)
    assert set(everything["plugins"]) >= GOOD


def test_good_plugins_load_beside_broken_ones_with_all_their_parts(everything: dict) -> None:
    assert everything["plugins"]["good"] == 1
    assert everything["plugins"]["zebra"] == 1
    alone = report(only="core")
    assert everything["plugins"]["core"] == alone["plugins"]["core"] > 20


def test_a_part_of_a_broken_plugin_says_why_it_is_not_there(everything: dict) -> None:
    message = everything["lookup"]
    assert "the plugin broken-import (fake-broken-import 1.0) did not load, at stage import" in message
    assert "a_package_that_is_not_installed" in message
    assert "restorekit plugins" in message


def test_the_environment_variable_restricts_what_is_loaded() -> None:
    found = report(FAKES / "good", FAKES / "another_good", FAKES / "broken_import", only=" good, ")
    assert set(found["plugins"]) == {"core", "good"}
    assert not found["problems"]
    assert "no plugin 'broken-import' is installed" in found["lookup"]


def test_two_versions_of_one_distribution_clash(everything: dict) -> None:
    distribution, version, _, cause, path = everything["problems"]["two"]
    assert distribution == "fake-two"
    places = {"1.0": FAKES / "two_versions_old", "2.0": FAKES / "two_versions_new"}
    assert set(version.split(" and ")) == set(places)
    assert set(path.split(" and ")) == set(map(str, places.values()))
    for number, place in places.items():
        assert f"fake-two {number} in {place}" in cause


def test_a_plugin_knows_where_it_was_loaded_from(everything: dict) -> None:
    assert everything["places"]["good"] == str(FAKES / "good")
    assert everything["places"]["faulty"] == str(FAKES / "faulty" / "fake_faulty")
    assert everything["places"]["core"] == str(FAKES.parents[1] / "restorekit" / "builtin")


def test_the_same_distribution_twice_on_the_path_is_one_plugin() -> None:
    found = report(FAKES / "good", FAKES / "good" / ".." / "good")
    assert "good" in found["plugins"]
    assert "good" not in found["problems"]


@pytest.mark.parametrize(
    ("entry", "stage", "cause"),
    [
        ("a/b = fake_named", "namespace", "a namespace is lower-case letters, digits"),
        ("named = fake_named:absent", "import", "AttributeError"),
        ("named = fake named", "import", "fake named failed"),
    ],
)
def test_a_strange_entry_point_is_a_problem(tmp_path: Path, entry: str, stage: str, cause: str) -> None:
    info = tmp_path / "fake_named-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-named\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[restorekit]\n{entry}\n")
    (tmp_path / "fake_named.py").write_text("RESTOREKIT_INTERFACE = 1\n")
    found = report(tmp_path, FAKES / "good")
    ((distribution, _, seen, why, _),) = found["problems"].values()
    assert (distribution, seen) == ("fake-named", stage)
    assert cause in why
    assert "good" in found["plugins"]
