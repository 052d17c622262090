"""Manifest of the namespace ``style``."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit_style"
JOHNSON = "Johnson, Alahi & Fei-Fei, ECCV 2016, arXiv:1603.08155"
ADAIN = "Huang & Belongie, ICCV 2017, arXiv:1703.06868"
GATYS = "Gatys, Ecker & Bethge, CVPR 2016, doi:10.1109/CVPR.2016.265"


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Style transfer by optimisation and by networks, and its losses."""
    yield Part(
        "loss",
        "gram",
        f"{HERE}.losses:GramLoss",
        summary="distance between Gram matrices of a network's maps: keeps texture alike",
        paper=GATYS,
        licence="Apache-2.0",
        example={"features": {"part": "core/squeezenet", "weights": "random"}, "layers": ["features.0"]},
    )
    for name, target, summary, paper in (
        ("moments", "MomentsLoss", "distance between means and deviations of a network's maps", "Li et al., IJCAI 2017, arXiv:1701.01036"),
        ("content", "ContentLoss", "distance between a network's maps, relative to the target's", GATYS),
    ):
        yield Part(
            "loss",
            name,
            f"{HERE}.losses:{target}",
            summary=summary,
            paper=paper,
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
    yield Part(
        "restorer",
        "texture-fill",
        f"{HERE}.fill:TextureFill",
        summary="fills missing pixels with the texture around them",
        paper="Gatys, Ecker & Bethge, NIPS 2015, arXiv:1505.07376",
        licence="Apache-2.0",
        example={"features": {"part": "style/random-filters", "scales": 2, "channels": 8, "side": 3}, "steps": 3, "precision": "fp32"},
    )
    yield Part(
        "generator",
        "transform-net",
        f"{HERE}.networks:TransformNet",
        summary="paints in the style, or one of the styles, that it was trained for, in one pass",
        paper=JOHNSON,
        licence="Apache-2.0",
        example={"width": 4, "blocks": 1, "styles": 2},
    )
    yield Part(
        "generator",
        "adain",
        f"{HERE}.adain:AdaIn",
        summary="paints in the style of any reference picture, in one pass",
        paper=ADAIN,
        licence="Apache-2.0 (the encoder's weights have their own)",
        example={
            "features": {"part": "style/random-filters", "scales": 2, "channels": 8, "side": 3},
            "layers": ["scale1", "scale2"],
            "width": 4,
        },
    )
    yield Part(
        "recipe",
        "fast",
        f"{HERE}:recipes/fast.yaml",
        summary="a network that paints in one style, or several, in one pass: needs style pictures and photographs",
        paper=JOHNSON,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "adain",
        f"{HERE}:recipes/adain.yaml",
        summary="a network that paints in any style in one pass: needs photographs and a folder of paintings",
        paper=ADAIN,
        licence="Apache-2.0",
    )
