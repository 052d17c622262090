"""Manifest of the namespace ``dcgan``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit_dcgan"
GOODFELLOW = "Goodfellow et al., NIPS 2014, arXiv:1406.2661"
DCGAN = "Radford, Metz & Chintala, DCGAN, ICLR 2016, arXiv:1511.06434"
PROGRESSIVE = "Karras et al., ICLR 2018, arXiv:1710.10196"
MSG = "Karnewar & Wang, CVPR 2020, arXiv:1903.06048"
STYLE = "Karras, Laine & Aila, CVPR 2019, arXiv:1812.04948; modulated convolution: Karras et al., CVPR 2020, arXiv:1912.04958"

part = partial(Part, licence="Apache-2.0")

GROWN = "the layers that make and take pictures of a resolution take part only until the next one has grown"


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Networks that make pictures from latent vectors, their critics, recipes that train them, and completion."""
    small = {"size": 16, "width": 4}
    for name, target, summary, paper, example in (
        ("vanilla", "vanilla:Vanilla", "two hidden layers at 28×28", GOODFELLOW, {"width": 8}),
        ("small", "vanilla:Small", "two convolutions at 28×28, without normalisation", GOODFELLOW, {"width": 2}),
        ("msg", "progressive:Msg", "a picture at every resolution, all of them judged", MSG, small),
    ):
        yield part("generator", name, f"{HERE}.{target}Generator", summary=summary, paper=paper, example={**example, "latent": 8})
        yield part("critic", name, f"{HERE}.{target}Critic", summary=summary, paper=paper, example=example)
    yield part(
        "generator",
        "generator",
        f"{HERE}.networks:DcganGenerator",
        summary="makes small pictures from a latent vector by transposed convolutions",
        paper=DCGAN,
        example={"size": 28, "width": 4, "latent": 8},
    )
    yield part(
        "critic",
        "critic",
        f"{HERE}.networks:DcganCritic",
        summary="judges small pictures by strided convolutions, one logit a picture",
        paper=DCGAN,
        example={"size": 28, "width": 4},
    )
    for kind, options in (("generator", {"latent": 8}), ("critic", {})):
        yield part(
            kind,
            "progressive",
            f"{HERE}.progressive:Progressive{kind.title()}",
            summary="grows from 4×4 pixels while it is trained",
            paper=PROGRESSIVE,
            example={**small, **options, "grow_every": 10},
            known_failures={"every-parameter-gets-a-gradient": GROWN},
        )
    yield part(
        "generator",
        "style-generator",
        f"{HERE}.style:StyleGenerator",
        summary="the style-based generator: mapping network, modulated convolutions, noise, style mixing",
        paper=STYLE,
        example={**small, "latent": 8, "mapping": 2},
    )
    yield part(
        "critic",
        "style-critic",
        f"{HERE}.style:StyleCritic",
        summary="judges pictures of the style-based generator",
        paper=STYLE,
        example=small,
    )
    yield part(
        "restorer",
        "completion",
        f"{HERE}.completion:Completion",
        summary="fills holes with what a trained generator makes, by latent search and Poisson blending",
        licence="Apache-2.0 (weights trained on BSDS500: research and education, non-commercial)",
        paper="Yeh et al., CVPR 2017, arXiv:1607.07539; Pérez, Gangnet & Blake, SIGGRAPH 2003, doi:10.1145/882262.882269",
        example=f"{HERE}.completion:example",
    )
    for name, summary, paper, before in (
        ("faces28", "learns faces of 28×28 pixels from the eighty inside scikit-image", DCGAN, ""),
        ("textures64", "learns 64×64 pieces of three textures, by class", DCGAN, ""),
        ("photos64", "learns 64×64 patches of photographs, the paper's training settings", DCGAN, "patches64"),
        ("progressive64", "grows to 64×64 patches of photographs", PROGRESSIVE, ""),
        ("msg64", "learns 64×64 patches of photographs at five resolutions at once", MSG, ""),
        ("style64", "the style-based generator on 64×64 patches of photographs", STYLE, ""),
    ):
        yield part("recipe", name, f"{HERE}:recipes/{name}.yaml", summary=summary, paper=paper, renamed_from=before)
