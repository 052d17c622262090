"""The conformance kit over everything installed, and the kit itself over parts with one fault each."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import restorekit as rk
from restorekit import discovery
from restorekit.conformance import Case, Result, cases, check_namespace, checks_for, elsewhere, kit, parametrize_parts, plugins
from restorekit.conformance.kit import PLUGIN
from restorekit.errors import UnknownName
from restorekit.hooks import KINDS, Part
from restorekit.registries import PluginInfo, RegisteredPart, Registry

FAKES = Path(__file__).parents[1] / "fake_plugins"
INSTALLED = sorted({p.namespace for p in (*rk.registry().plugins, *rk.registry().problems)})
TESTS = "".join(file.read_text(encoding="utf-8") for file in sorted((Path(__file__).parents[2] / "plugins").glob("*/tests/test_*.py")))
EVERYTHING = [
    case
    for namespace in INSTALLED
    if f'@parametrize_parts("{namespace}")\ndef test_' not in TESTS  # the plugin's own tests run them
    for case in cases(namespace)
]


@pytest.mark.parametrize("case", EVERYTHING, ids=[case.id for case in EVERYTHING])
def test_everything_installed_conforms(case: Case) -> None:
    case.run()


@pytest.fixture(scope="module")
def fakes() -> Iterator[Registry]:
    """The registry with the fake plugins that matter here, on the path of this process for as long."""
    names = ("faulty", "heavy", "private", "good", "broken_import", "noisy", "slow", "meddling")
    paths = [str(FAKES / name) for name in names]
    sys.path[:0] = paths
    try:
        yield discovery.discover()
    finally:
        for path in paths:
            sys.path.remove(path)


@pytest.fixture(scope="module")
def faulty(fakes: Registry) -> list[Result]:
    """All checks of the parts that one alone must catch, and of their variants that one."""
    exact = [case for case in cases("faulty", registry=fakes) if case.kind != PLUGIN and "--" not in case.part]
    others = [case for case in cases("faulty", registry=fakes) if "--" in case.part]
    return [case.examine() for case in [*exact, *(c for c in others if base(c.part) in (c.check, "target-imports"))]]


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


def test_nothing_else_would_catch_what_a_check_catches(fakes: Registry, faulty: list[Result]) -> None:
    """A part that is named after a check alone fails that one and no other, so that without it the fault would pass."""
    exact = [part for part in fakes.parts if part.namespace == "faulty" and "--" not in part.name]
    caught = {(part.kind, part.name): sorted(failed(faulty, part.name, part.kind)) for part in exact}
    assert {key: checks for key, checks in caught.items() if checks != [base(key[1])]} == {}


def test_every_check_has_a_part_that_only_it_catches(fakes: Registry) -> None:
    """But for the check on a GPU, whose faulty parts are in test_second_device."""
    covered = {
        check
        for part in fakes.parts
        if part.namespace == "faulty" and "--" not in part.name
        for check in (*checks_for(part.kind), kit.known_failures_exist)
        if kit.check_name(check) == base(part.name)
    }
    every = {check for kind in KINDS for check in checks_for(kind)} - {elsewhere.same_on_a_gpu} | {kit.known_failures_exist}
    assert sorted(map(kit.check_name, every - covered)) == []


PLUGINS_AT_FAULT = {
    plugins.plugin_loads: "broken-import",
    plugins.manifest_is_light: "heavy",
    plugins.only_public_core_is_imported: "private",
    plugins.import_prints_nothing: "noisy",
    plugins.import_changes_nothing: "meddling",
    plugins.import_is_quick: "slow",
}
"""For each check of a plugin as a whole a fake that fails it."""


def test_every_check_of_a_plugin_has_a_fake_that_fails_it() -> None:
    assert set(PLUGINS_AT_FAULT) == {plugins.plugin_loads, *plugins.PLUGIN}


@pytest.fixture(scope="module")
def at_fault(fakes: Registry) -> Iterator[Callable[[str], dict[str, Result]]]:
    """The failed checks of a fake, its parts included; each fake is looked at once."""
    found: dict[str, list[Result]] = {}

    def look(namespace: str) -> dict[str, Result]:
        if namespace not in found:
            states = np.random.get_state(), random.getstate()  # noqa: NPY002
            found[namespace] = check_namespace(namespace, registry=fakes)
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])
        return {result.check: result for result in found[namespace] if result.status == "failed"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "TRIES", 1)
        yield look


@pytest.mark.parametrize(("check", "namespace"), PLUGINS_AT_FAULT.items(), ids=PLUGINS_AT_FAULT.values())
def test_a_fault_of_a_plugin_is_caught_by_one_check(
    at_fault: Callable[[str], dict[str, Result]], check: Callable[..., Any], namespace: str
) -> None:
    found = at_fault(namespace)
    assert list(found) == [kit.check_name(check)]
    assert found[kit.check_name(check)].seen
    assert found[kit.check_name(check)].fix


def test_what_prints_when_it_is_imported_is_named(at_fault: Callable[[str], dict[str, Result]]) -> None:
    """A manifest on the standard error, and a part's module on the standard output."""
    assert at_fault("noisy")["import-prints-nothing"].seen == (
        "importing fake_noisy.plugin prints 'fake_noisy: looking for a licence'; importing fake_noisy.losses prints 'welcome!'"
    )


@pytest.mark.parametrize(
    "change",
    [
        "importing fake_meddling.plugin changes Python's random state",
        "importing fake_meddling.numpy_seed changes NumPy's random state",
        "importing fake_meddling.torch_seed changes torch's random state",
        "importing fake_meddling.dtype changes torch's default dtype from torch.float32 to torch.float64",
        "importing fake_meddling.device changes torch's default device from cpu to meta",
        "importing fake_meddling.threads changes torch's number of threads from ",
    ],
)
def test_what_changes_the_process_when_it_is_imported_is_named(at_fault: Callable[[str], dict[str, Result]], change: str) -> None:
    seen = at_fault("meddling")["import-changes-nothing"].seen.split("; ")
    assert len(seen) == 6
    assert sum(words.startswith(change) for words in seen) == 1


def test_what_takes_its_time_when_it_is_imported_is_named(at_fault: Callable[[str], dict[str, Result]]) -> None:
    assert re.fullmatch(r"importing fake_slow takes \d+\.\d s", at_fault("slow")["import-is-quick"].seen)


def test_a_meddling_part_spoils_nothing_for_the_others(at_fault: Callable[[str], dict[str, Result]]) -> None:
    before = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    at_fault("meddling")
    assert (torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()) == before


def test_every_kind_has_checks_of_its_own() -> None:
    assert set(kit.CHECKS) == set(KINDS)
    assert all(kit.CHECKS.values())


def test_a_wrong_size_rule_is_answered_with_the_right_one(faulty: list[Result]) -> None:
    result = failed(faulty, "faulty/shapes-hold--rule", "generator")["shapes-hold"]
    assert result.fix == "size = SizeRule(minimum=4, multiple_of=4, fixed=None)"
    result = failed(faulty, "faulty/shapes-hold--minimum", "generator")["shapes-hold"]
    assert result.fix == "size = SizeRule(minimum=11, multiple_of=1, fixed=None)"


def test_what_depends_on_a_failure_is_skipped_with_a_pointer_to_it(faulty: list[Result]) -> None:
    later = [r for r in faulty if r.part == "faulty/target-imports" and r.kind == "loss" and r.status == "skipped"]
    assert later
    assert {r.seen for r in later} == {"the target cannot be imported: see target-imports"}
    assert list(failed(faulty, "faulty/target-imports--exits", "loss")) == ["target-imports"]


def test_a_heavy_manifest_is_found(at_fault: Callable[[str], dict[str, Result]]) -> None:
    assert at_fault("heavy")["manifest-is-light"].seen == "importing fake_heavy imports torch"


def test_imports_of_what_is_not_public_are_found(at_fault: Callable[[str], dict[str, Result]]) -> None:
    seen = at_fault("private")["only-public-core-is-imported"].seen
    assert "imports restorekit.config" in seen
    assert "imports fake_good" in seen


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
