"""Manifest of the namespace ``spandrel``."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """One restorer."""
    yield Part(
        "restorer",
        "checkpoint",
        "restorekit_spandrel.checkpoint:Checkpoint",
        summary="restores with a checkpoint of any architecture that spandrel recognises: NAFNet, SwinIR, Real-ESRGAN and others",
        paper="that of the checkpoint's architecture; recognised by spandrel, chaiNNer team, 2023",
        licence="Apache-2.0 (spandrel MIT; the checkpoint as its author says)",
        example="restorekit_spandrel.checkpoint:example",
    )
