"""Manifest of the namespace ``style``."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit_style"


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Losses that compare style."""
    yield Part(
        "loss",
        "gram",
        f"{HERE}.losses:GramLoss",
        summary="distance between Gram matrices of a network's maps: keeps texture alike",
        paper="Gatys, Ecker & Bethge, CVPR 2016, doi:10.1109/CVPR.2016.265",
        licence="Apache-2.0",
        example={"features": {"part": "core/squeezenet", "weights": "random"}, "layers": ["features.0"]},
    )
