"""Listing and helping import nothing slow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from restorekit.conformance.plugins import HEAVY

RUN = """
import contextlib, io, json, resource, sys
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
    exec(sys.argv[1], {"__name__": "startup"})
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"modules": sorted(sys.modules), "seconds": used.ru_utime + used.ru_stime, "out": out.getvalue()}))
"""

COMMAND = "import runpy, sys; sys.argv[:] = ['restorekit', *{!r}]; runpy.run_module('restorekit', run_name='__main__')"


def run(code: str) -> dict:
    done = subprocess.run([sys.executable, "-c", RUN, code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def heavy(found: dict) -> list[str]:
    return [name for name in HEAVY if name in found["modules"]]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "restore"),
        (["list"], "core/wiener"),
        (["list", "loss", "--json"], "core/l1"),
        (["plugins"], "core"),
        (["restore", "--help"], "--with"),
        (["new-plugin", "--help"], "--kind"),
    ],
    ids=" ".join,
)
def test_a_command_that_only_reports_loads_nothing_slow(arguments: list[str], shown: str) -> None:
    best = min((run(COMMAND.format(arguments)) for _ in range(3)), key=lambda found: found["seconds"])
    # CPU time depends on the machine, so it is shown (pytest -s) and the modules are what is asserted.
    print(f"restorekit {' '.join(arguments)}: {best['seconds']:.2f} s of CPU time")
    assert shown in best["out"]
    assert heavy(best) == []


@pytest.mark.parametrize(
    "code",
    [
        "import restorekit",
        "import restorekit as rk; rk.registry().parts; rk.UserError; rk.Recipe",
        "import restorekit as rk; rk.registry().find('loss', 'core/l1'); rk.registry().named('ssim')",
        "import restorekit as rk; rk.recipe({'recipe': 1}).set('train.steps', 3).hash",
    ],
)
def test_the_package_and_its_registry_load_nothing_slow(code: str) -> None:
    assert heavy(run(code)) == []


def test_the_measurement_sees_what_is_loaded() -> None:
    assert heavy(run("import pydantic")) == ["pydantic"]


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    import restorekit

    with pytest.raises(AttributeError, match="has no attribute 'registery'"):
        restorekit.registery  # noqa: B018


def test_every_public_name_resolves() -> None:
    import restorekit

    assert [name for name in restorekit.__all__ if not hasattr(restorekit, name)] == []
