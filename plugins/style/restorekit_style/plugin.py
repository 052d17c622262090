"""Manifest of the namespace ``style``."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit_style"
GATYS = "Gatys, Ecker & Bethge, CVPR 2016, doi:10.1109/CVPR.2016.265"


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Losses that compare style."""
    yield Part(
        "loss",
        "gram",
        f"{HERE}.losses:GramLoss",
        summary="distance between Gram matrices of a network's maps: keeps texture alike",
        paper=GATYS,
        licence="Apache-2.0",
        example={"features": {"part": "core/squeezenet", "weights": "random"}, "layers": ["features.0"]},
    )
    yield Part(
        "features",
        "random-filters",
        f"{HERE}.filters:RandomFilters",
        summary="untrained filters at several scales: texture without any weights",
        paper="Ustyuzhaninov et al., 2016, arXiv:1606.00021",
        licence="Apache-2.0",
        example={"scales": 2, "channels": 8, "side": 3},
    )
    yield Part(
        "restorer",
        "gatys",
        f"{HERE}.gatys:Gatys",
        summary="paints a photograph in the style of a reference picture, by optimising its pixels",
        paper=GATYS,
        licence="Apache-2.0",
        example={"features": {"part": "style/random-filters", "scales": 2, "channels": 8, "side": 3}, "steps": 3, "precision": "fp32"},
    )
