"""The whole extension surface: one hook that yields `Part` records.

A plugin is a distribution with an entry point in the group ``restorekit``. The entry point's name is
the plugin's namespace and its value a module, the manifest, that defines ``RESTOREKIT_INTERFACE`` and
the hook. The manifest names its parts as text, so that listing them imports nothing heavy:

    from restorekit.hooks import Part, hookimpl

    RESTOREKIT_INTERFACE = 1

    @hookimpl
    def restorekit_parts():
        yield Part("loss", "edges", "my_plugin.losses:EdgeLoss", summary="...", paper="...", licence="MIT")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

PROJECT = "restorekit"

INTERFACES = (1, 1)
"""Oldest and newest plugin interface that this core works with."""

KINDS = {
    "generator": "restorekit.interfaces:Generator",
    "critic": "restorekit.interfaces:Critic",
    "adversarial": "restorekit.interfaces:Adversarial",
    "loss": "restorekit.interfaces:Loss",
    "degradation": "restorekit.interfaces:Degradation",
    "metric": "restorekit.interfaces:Metric",
    "set-metric": "restorekit.interfaces:SetMetric",
    "restorer": "restorekit.interfaces:Restorer",
    "features": "restorekit.interfaces:Features",
    "estimator": "restorekit.interfaces:Estimator",
    "recipe": "",
    "suite": "",
}
"""Kinds of part, each with the interface its class implements; recipes and suites are data files."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Part:
    """One part that a plugin offers.

    Args:
        kind: one of `KINDS`.
        name: lower-case name without the namespace, such as ``resnet9``; core adds the namespace.
        target: ``package.module:Class``, or ``package:folder/file.yaml`` for recipes and suites.
            Imported or read on first use only.
        summary: one line for ``restorekit list``.
        paper: where the method is defined: authors, venue, arXiv number or DOI; ``textbook`` for
            what every textbook has.
        licence: SPDX identifier of the part's code, and of its weights where it ships some.
        example: a tiny configuration that the conformance checks use, or ``module:function``, called
            with a temporary folder and returning one, for parts that need files.
        default_for: a job for which this part is the one to take when the user names none; the
            jobs are ``restore``.
        renamed_from: the part's former name; it still works for one release, with a warning.
        importer: ``module:function`` that makes this generator of other people's checkpoints, a
            `restorekit.interfaces.Importer`; what ``restorekit import FILE --as NAME`` calls.
        known_failures: names of conformance checks that do not hold, each with the reason.
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    paper: str = ""
    licence: str = ""
    example: Mapping[str, Any] | str = field(default_factory=dict)
    default_for: str = ""
    renamed_from: str = ""
    importer: str = ""
    known_failures: Mapping[str, str] = field(default_factory=dict)


class Hooks:
    """The hooks that core calls."""

    @hookspec
    def restorekit_parts(self) -> Iterable[Part]:
        """Yield a `Part` for everything that the plugin offers."""
        raise AssertionError("a specification, never called")
