"""The conformance kit over everything installed, and the kit itself over parts with one fault each."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import restorekit as rk
from restorekit import discovery
from restorekit.conformance import Case, Result, cases, check_namespace, checks_for, kit, parametrize_parts, plugins
from restorekit.errors import UnknownName
from restorekit.hooks import KINDS, Part
from restorekit.registries import PluginInfo, RegisteredPart, Registry

FAKES = Path(__file__).parents[1] / "fake_plugins"
INSTALLED = sorted({p.namespace for p in (*rk.registry().plugins, *rk.registry().problems)})
EVERYTHING = [case for namespace in INSTALLED for case in cases(namespace)]


@pytest.mark.parametrize("case", EVERYTHING, ids=[case.id for case in EVERYTHING])
def test_everything_installed_conforms(case: Case) -> None:
    case.run()


@pytest.fixture(scope="module")
def fakes() -> Iterator[Registry]:
    """The registry with the fake plugins that matter here, on the path of this process for as long."""
    names = ("faulty", "heavy", "private", "good", "broken_import")
    paths = [str(FAKES / name) for name in names]
    sys.path[:0] = paths
    try:
        yield discovery.discover()
    finally:
        for path in paths:
            sys.path.remove(path)


@pytest.fixture(scope="module")
def faulty(fakes: Registry) -> list[Result]:
    wanted = [case for case in cases("faulty", registry=fakes) if case.check == base(case.part) or base(case.part) == "target-imports"]
    return [case.examine() for case in wanted]


def base(part: str) -> str:
    """The check that a faulty part is named after."""
    return part.rpartition("/")[2].partition("--")[0]


def failed(results: list[Result], part: str, kind: str) -> dict[str, Result]:
    return {r.check: r for r in results if (r.part, r.kind, r.status) == (part, kind, "failed")}


def test_each_check_catches_its_faulty_part(fakes: Registry, faulty: list[Result]) -> None:
    parts = [part for part in fakes.parts if part.namespace == "faulty"]
    assert len(parts) > 90
    missed = [(p.kind, p.name) for p in parts if base(p.name) not in failed(faulty, p.name, p.kind)]
    assert not missed


def test_a_failure_says_what_was_expected_what_was_seen_and_how_to_put_it_right(faulty: list[Result]) -> None:
    for result in faulty:
        if result.status == "failed":
            assert result.expected.endswith(".")
            assert result.seen.strip()
            assert result.fix.strip()
            assert len(result.seen) < 1000


def test_every_check_has_a_part_that_fails_it(fakes: Registry) -> None:
    covered = {
        check
        for part in fakes.parts
        if part.namespace == "faulty"
        for check in checks_for(part.kind)
        if kit.check_name(check) == base(part.name)
    }
    every = {check for kind in KINDS for check in checks_for(kind)}
    assert sorted(map(kit.check_name, every - covered)) == []


def test_every_kind_has_checks_of_its_own() -> None:
    assert set(kit.CHECKS) == set(KINDS)
    assert all(kit.CHECKS.values())


def test_a_wrong_size_rule_is_answered_with_the_right_one(faulty: list[Result]) -> None:
    result = failed(faulty, "faulty/shapes-hold", "generator")["shapes-hold"]
    assert result.fix == "size = SizeRule(minimum=4, multiple_of=4, fixed=None)"
    result = failed(faulty, "faulty/shapes-hold--minimum", "generator")["shapes-hold"]
    assert result.fix == "size = SizeRule(minimum=11, multiple_of=1, fixed=None)"


def test_what_depends_on_a_failure_is_skipped_with_a_pointer_to_it(faulty: list[Result]) -> None:
    later = [r for r in faulty if r.part == "faulty/target-imports" and r.kind == "loss" and r.status == "skipped"]
    assert later
    assert {r.seen for r in later} == {"the target cannot be imported: see target-imports"}
    assert list(failed(faulty, "faulty/target-imports--exits", "loss")) == ["target-imports"]


def test_a_heavy_manifest_is_found(fakes: Registry) -> None:
    result = failed(check_namespace("heavy", registry=fakes), "heavy", "plugin")["manifest-is-light"]
    assert result.seen == "importing fake_heavy imports torch"


def test_imports_of_what_is_not_public_are_found(fakes: Registry) -> None:
    result = failed(check_namespace("private", registry=fakes), "private", "plugin")["only-public-core-is-imported"]
    assert "imports restorekit.config" in result.seen
    assert "imports fake_good" in result.seen


def test_a_sound_plugin_passes_beside_them(fakes: Registry) -> None:
    assert {r.status for r in check_namespace("good", registry=fakes)} <= {"passed", "skipped"}


def test_a_plugin_that_did_not_load_is_one_failed_result(fakes: Registry) -> None:
    (result,) = check_namespace("broken-import", registry=fakes)
    assert (result.status, result.check) == ("failed", "plugin-loads")
    assert "a_package_that_is_not_installed" in result.seen


def test_an_unknown_namespace_says_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"no plugin 'coer' is installed\. Did you mean core\? Installed: core"):
        check_namespace("coer")


def _one(known: dict[str, str], target: str = "restorekit.builtin.losses:L1") -> Registry:
    part = RegisteredPart(Part("loss", "x", target, "s", "p", "l", known_failures=known), "mine", "not-installed", "1.0", 1)
    return Registry([part], [PluginInfo("mine", "not-installed", "1.0", 1, 1)])


def test_a_known_failure_is_reported_as_such(fakes: Registry) -> None:
    results = check_namespace("mine", registry=_one({"is-least-at-equality": "a penalty"}, "fake_faulty.losses:Negative"))
    (known,) = (r for r in results if r.status == "known")
    assert (known.check, known.fix) == ("is-least-at-equality", "a penalty")
    assert not [r for r in results if r.status == "failed"]


def test_a_known_failure_that_holds_now_fails() -> None:
    (result,) = (r for r in check_namespace("mine", registry=_one({"is-least-at-equality": "a penalty"})) if r.status == "failed")
    assert (result.check, result.seen) == ("is-least-at-equality", "a known failure that holds now")


def test_the_kit_leaves_global_random_states_as_they_were() -> None:
    before = global_states()
    for case in EVERYTHING:
        if case.part in ("core/gaussian-noise", "core/charbonnier", "core/hinge"):
            case.examine()
    assert global_states() == before


def global_states() -> tuple[object, ...]:
    numpy = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), str(numpy[2]), numpy[1].tolist(), random.getstate()  # type: ignore[index, union-attr]


def test_parametrize_parts_gives_a_case_per_check() -> None:
    mark = parametrize_parts("dcgan")
    assert mark.args[0] == "conformance_case"
    assert [case.id for case in mark.args[1]] == mark.kwargs["ids"] == [case.id for case in cases("dcgan")]


@pytest.mark.parametrize(
    ("outcome", "known", "raised"),
    [
        (kit.Failed("seen", "fix"), "", pytest.fail.Exception),
        (kit.Failed("seen", "fix"), "reason", pytest.xfail.Exception),
        (kit.Skipped("why"), "", pytest.skip.Exception),
        (None, "", None),
        (None, "reason", pytest.fail.Exception),
        (ZeroDivisionError("x"), "", pytest.fail.Exception),
    ],
)
def test_a_case_reports_to_pytest(outcome: Exception | None, known: str, raised: type[BaseException] | None) -> None:
    def check() -> None:
        if outcome is not None:
            raise outcome

    case = Case("mine/x", "loss", "a-check", "It holds.", check, known)
    if raised is None:
        case.run()
    else:
        with pytest.raises(raised):
            case.run()


def test_the_manifest_check_and_the_linter_forbid_the_same_packages() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(plugins.HEAVY) == set(project["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])
