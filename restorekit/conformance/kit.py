"""Which checks a part undergoes, and running them."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from restorekit import discovery, seeding
from restorekit.conformance import arguments, common, elsewhere, estimators, features, importers, networks, plugins, scores, training
from restorekit.conformance import degradations as degradation_checks
from restorekit.conformance import restorers as restorer_checks
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.errors import UnknownName, did_you_mean
from restorekit.registries import Registry

Status = Literal["passed", "failed", "skipped", "known"]

PLUGIN = "plugin"
"""Kind of a result that concerns a plugin as a whole."""

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "generator": (*networks.GENERATOR, importers.importer_tells_strangers_apart),
    "critic": networks.CRITIC,
    "features": features.FEATURES,
    "estimator": estimators.ESTIMATOR,
    "adversarial": training.ADVERSARIAL,
    "loss": training.LOSS,
    "degradation": degradation_checks.DEGRADATION,
    "metric": scores.METRIC,
    "set-metric": scores.SET_METRIC,
    "restorer": restorer_checks.RESTORER,
    "recipe": common.RECIPE,
    "suite": common.SUITE,
}
"""Checks of each kind, beside those that every part undergoes."""


@dataclass(frozen=True)
class Result:
    """What one check found.

    Attributes:
        part: full name of the part, or the namespace for checks of the plugin as a whole.
        kind: kind of the part, or ``plugin``.
        check: name of the check.
        status: ``known`` is a failure that the part declares.
        expected: what holds for a part that conforms.
        seen: what was there instead, why the check was skipped, or a remark.
        fix: what most likely puts it right.
        seconds: how long it took.
    """

    part: str
    kind: str
    check: str
    status: Status
    expected: str
    seen: str
    fix: str
    seconds: float


@dataclass(frozen=True)
class Case:
    """One check of one part, ready to run.

    Attributes:
        part: full name of the part, or the namespace.
        kind: kind of the part, or ``plugin``.
        check: name of the check.
        expected: what holds for a part that conforms.
        function: the check.
        known: the reason why the part declares that it fails, or empty.
    """

    part: str
    kind: str
    check: str
    expected: str
    function: Callable[[], str | None]
    known: str = ""

    @property
    def id(self) -> str:
        """Short name for test reports."""
        return f"{self.kind}:{self.part}:{self.check}"

    def examine(self) -> Result:
        """Run the check; torch's global random state is put back afterwards."""
        start = time.perf_counter()
        status: Status = "passed"
        seen = fix = ""
        try:
            with seeding.seeded("conformance", self.part, self.check), _settings_put_back():
                seen = self.function() or ""
        except Skipped as reason:
            status, seen = "skipped", str(reason)
        except Failed as fault:
            status, seen, fix = "failed", fault.seen, fault.fix
        except (Exception, SystemExit) as fault:
            status, (seen, fix) = "failed", _crash(fault)
        if self.known and status == "failed":
            status, fix = "known", self.known
        elif self.known and status == "passed":
            status, seen, fix = "failed", "a known failure that holds now", f"remove {self.check!r} from known_failures"
        return Result(self.part, self.kind, self.check, status, self.expected, seen, fix, time.perf_counter() - start)

    def run(self) -> None:
        """Run the check as the body of a pytest test: skipped and known failures are reported as such."""
        import pytest

        result = self.examine()
        if result.status == "skipped":
            pytest.skip(result.seen)
        if result.status == "known":
            pytest.xfail(f"{result.seen} (known: {result.fix})")
        if result.status == "failed":
            lines = (
                f"{result.kind} {result.part}, {result.check}",
                f"expected: {result.expected}",
                f"seen: {result.seen}",
                f"fix: {result.fix}",
            )
            pytest.fail("\n".join(lines), pytrace=False)


@contextlib.contextmanager
def _settings_put_back() -> Iterator[None]:
    """A module that changes torch's settings when it is imported fails one check, and must not spoil the others."""
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _crash(fault: BaseException) -> tuple[str, str]:
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    text = " ".join(f"{type(fault).__name__}: {fault}".split())
    return text if len(text) < 400 else text[:397] + "...", f"look at {frame.filename}:{frame.lineno}, in {frame.name}"


def check_namespace(namespace: str, *, registry: Registry | None = None) -> list[Result]:
    """Run every check on a plugin and all of its parts.

    Args:
        namespace: of the plugin, such as ``deblurgan``, or ``core``.
        registry: where it is; the installed parts if None.

    Returns:
        One result per check, in order of the parts. A plugin that did not load is one failed result.

    Raises:
        UnknownName: no such plugin.
    """
    return [case.examine() for case in cases(namespace, registry=registry)]


def checks_for(kind: str) -> tuple[Check, ...]:
    """The checks that a part of `kind` undergoes."""
    if kind in ("recipe", "suite"):
        return (*common.ALL, *CHECKS[kind])
    return (*common.ALL, *common.SCHEMA, arguments.every_argument_matters, *CHECKS[kind], elsewhere.same_on_a_gpu)


def check_name(check: Callable[..., Any]) -> str:
    """The name of a check as it stands in results and in ``known_failures``."""
    return check.__name__.replace("_", "-")


def cases(namespace: str, *, registry: Registry | None = None) -> list[Case]:
    """Every check of a plugin and its parts, not yet run.

    Raises:
        UnknownName: no such plugin.
    """
    registry = registry or discovery.registry()
    problems = [problem for problem in registry.problems if problem.namespace == namespace]
    if problems:
        return [
            Case(
                namespace, PLUGIN, check_name(plugins.plugin_loads), _expected(plugins.plugin_loads), partial(plugins.plugin_loads, problem)
            )
            for problem in problems
        ]
    parts = [part for part in registry.parts if part.namespace == namespace]
    known = {plugin.namespace: plugin.distribution for plugin in registry.plugins} | {part.namespace: part.distribution for part in parts}
    if namespace not in known:
        raise UnknownName(
            f"no plugin {namespace!r} is installed.{did_you_mean(namespace, known)} Installed: {', '.join(known)}. "
            "See: restorekit plugins. One that you are writing is installed by: pip install -e ITS_FOLDER"
        )
    found = [
        Case(namespace, PLUGIN, check_name(check), _expected(check), partial(check, namespace, known[namespace], registry))
        for check in plugins.PLUGIN
    ]
    for part in parts:
        subject = Subject(part, registry)
        checks = checks_for(part.kind)
        found.append(_known_failures_case(subject, checks))
        for check in checks:
            name = check_name(check)
            reason = part.part.known_failures.get(name, "")
            found.append(Case(part.name, part.kind, name, _expected(check), partial(check, subject), reason))
    return found


def known_failures_exist(subject: Subject, names: Iterable[str]) -> None:
    """Every known failure names a check and gives a reason."""
    for name, reason in subject.registered.part.known_failures.items():
        if name not in names:
            raise Failed(f"known_failures names {name!r}, no check of this kind", f"use one of: {', '.join(names)}")
        if not reason.strip():
            raise Failed(f"known_failures gives no reason for {name!r}", "say why it does not hold")


def _known_failures_case(subject: Subject, checks: Iterable[Check]) -> Case:
    names = tuple(map(check_name, checks))
    check = partial(known_failures_exist, subject, names)
    return Case(subject.name, subject.kind, check_name(known_failures_exist), _expected(known_failures_exist), check)


def _expected(check: Callable[..., Any]) -> str:
    return (check.__doc__ or "").partition("\n")[0]


def parametrize_parts(namespace: str, *, registry: Registry | None = None) -> Any:
    """A pytest decorator that runs a test once per check of a plugin, with the argument ``conformance_case``.

    Args:
        namespace: of the plugin.
        registry: where it is; the installed parts if None.

    Raises:
        UnknownName: no such plugin.
    """
    import pytest

    found = cases(namespace, registry=registry)
    return pytest.mark.parametrize("conformance_case", found, ids=[case.id for case in found])
