"""Manifest of the namespace ``dcgan``."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit_dcgan"
DCGAN = "Radford, Metz & Chintala, DCGAN, ICLR 2016, arXiv:1511.06434"


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """The generator, the critic and a recipe that trains them."""
    yield Part(
        "generator",
        "generator",
        f"{HERE}.networks:DcganGenerator",
        summary="makes small pictures from a latent vector by transposed convolutions",
        paper=DCGAN,
        licence="Apache-2.0",
        example={"size": 28, "width": 4, "latent": 8},
    )
    yield Part(
        "critic",
        "critic",
        f"{HERE}.networks:DcganCritic",
        summary="judges small pictures by strided convolutions, one logit a picture",
        paper=DCGAN,
        licence="Apache-2.0",
        example={"size": 28, "width": 4},
    )
    yield Part(
        "recipe",
        "patches64",
        f"{HERE}:recipes/patches64.yaml",
        summary="learns 64×64 patches of photographs, the paper's training settings",
        paper=DCGAN,
        licence="Apache-2.0",
    )
