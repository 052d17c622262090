"""Manifest of the namespace ``template``: names only, so that listing it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """One loss."""
    yield Part(
        "loss",
        "edge-aware",
        "restorekit_template.losses:EdgeAware",
        summary="L1 that counts more at the target's edges",
        paper="textbook",
        licence="Apache-2.0",
        example={"strength": 2.0},
    )
