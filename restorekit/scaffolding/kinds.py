"""What a new plugin's part is, for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TORCH = '"restorekit>=0.1,<0.2", "torch>=2.8"'
OPTIONS = f'"annotated-types>=0.6", {TORCH}'
TESTING = '"pytest>=8.2", "ruff>=0.9"'
WITH_NETWORKS = f'{TESTING}, "restorekit-deblurgan>=0.1,<0.2"'


@dataclass(frozen=True)
class Sketch:
    """A part to begin with; its files are in ``templates/KIND``.

    Attributes:
        part: its name, without the namespace.
        target: its target, without the package.
        summary: one line for the manifest, also the distribution's description.
        paper: for the manifest.
        example: for the manifest, as Python.
        dependencies: of the distribution, as TOML.
        testing: what its tests need besides.
        advice: what to change it to.
    """

    part: str
    target: str
    summary: str
    paper: str
    example: str = "{}"
    dependencies: str = OPTIONS
    testing: str = TESTING
    advice: str = "Options are keyword-only and annotated, with their bounds: the signature of the constructor is the schema."

    @property
    def file(self) -> str:
        """The part's file within the package."""
        module, _, name = self.target.partition(":")
        return name if name.endswith(".yaml") else f"{module}.py"


SKETCHES: Mapping[str, Sketch] = {
    "generator": Sketch(
        "residual",
        "generators:Residual",
        "a small network that finds what is wrong with an image and takes it off",
        "after Zhang et al., IEEE TIP 2017, arXiv:1608.03981",
        '{"width": 4, "depth": 3}',
    ),
    "critic": Sketch(
        "patches",
        "critics:Patches",
        "a critic of overlapping patches, without batch norm",
        "after Isola et al., CVPR 2017, arXiv:1611.07004",
        '{"width": 4, "levels": 2}',
        testing=WITH_NETWORKS,
    ),
    "adversarial": Sketch(
        "smooth-labels",
        "objectives:SmoothLabels",
        "the non-saturating game with one-sided label smoothing",
        "Salimans et al., NeurIPS 2016, arXiv:1606.03498",
        testing=WITH_NETWORKS,
    ),
    "loss": Sketch(
        "edge-aware",
        "losses:EdgeAware",
        "L1 that counts more at the target's edges",
        "textbook",
        '{"strength": 2.0}',
        testing=WITH_NETWORKS,
    ),
    "degradation": Sketch(
        "row-noise",
        "degradations:RowNoise",
        "rows of their own brightness, as from the read-out of a sensor",
        "textbook",
        '{"sigma": 0.05}',
        testing=WITH_NETWORKS,
    ),
    "metric": Sketch(
        "gmsd",
        "metrics:GradientDeviation",
        "gradient magnitude similarity deviation",
        "Xue et al., IEEE TIP 2014, arXiv:1308.3052",
    ),
    "set-metric": Sketch(
        "colour-distance",
        "metrics:ColourDistance",
        "Fréchet distance between the colours of two sets",
        "after Dowson & Landau, Journal of Multivariate Analysis 1982",
        dependencies=TORCH,
    ),
    "restorer": Sketch(
        "unsharp-mask",
        "restorers:UnsharpMask",
        "sharpens by what a Gaussian blur takes away",
        "textbook",
        '{"sigma": 1.0}',
    ),
    "features": Sketch(
        "random-pyramid",
        "features:RandomPyramid",
        "random orthogonal filters at three scales",
        "after Ustyuzhaninov et al., ICLR 2017, arXiv:1606.00021",
        '{"width": 4}',
        testing=WITH_NETWORKS,
    ),
    "estimator": Sketch(
        "reblur",
        "estimators:Reblur",
        "the Gaussian blur of a photograph, found by blurring it again",
        "Zhuo & Sim, Pattern Recognition 2011, doi:10.1016/j.patcog.2011.03.009",
        '{"size": 9}',
    ),
    "recipe": Sketch(
        "denoise",
        ":denoise.yaml",
        "a small network against noise",
        "textbook",
        dependencies='"restorekit>=0.1,<0.2", "restorekit-deblurgan>=0.1,<0.2"',
        advice="Every key is described in restorekit's CONTRIBUTING.",
    ),
    "suite": Sketch(
        "night",
        ":night.yaml",
        "the photographs inside scikit-image, as if taken in the dark",
        "textbook",
        dependencies='"restorekit>=0.1,<0.2"',
        advice="`restorekit info core/photos` shows another suite.",
    ),
}
"""By kind; every kind of `restorekit.hooks.KINDS` has one."""
