"""Manifest of the namespace ``core``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit.builtin"
TEXTBOOK = "textbook"

part = partial(Part, licence="Apache-2.0")

TINY_FEATURES: Mapping[str, Any] = {"part": "core/squeezenet", "weights": "random"}


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Everything that needs no plugin."""
    yield from _degradations()
    yield from _losses()
    yield from _features()
    yield from _adversarial()
    yield from _scores()
    yield from _restorers()


def _degradations() -> Iterator[Part]:
    for name, target, summary, paper, example in (
        (
            "camera-shake",
            "blurs:CameraShake",
            "blur by a random smooth trajectory of the camera",
            "Boracchi & Foi, IEEE TIP 2012, doi:10.1109/TIP.2012.2192126",
            {"length": [3.0, 7.0]},
        ),
        ("motion-blur", "blurs:MotionBlur", "blur along a straight line", TEXTBOOK, {"length": [3.0, 7.0]}),
        ("gaussian-blur", "blurs:GaussianBlur", "blur by a Gaussian", TEXTBOOK, {"sigma": [0.5, 1.5]}),
        ("gaussian-noise", "degradations:GaussianNoise", "additive white Gaussian noise", TEXTBOOK, {"sigma": 0.05}),
        ("jpeg", "degradations:Jpeg", "JPEG compression artefacts", "Wallace, CACM 1991, doi:10.1145/103085.103089", {"quality": [20, 60]}),
        ("downscale", "degradations:Downscale", "anti-aliased reduction of the size", TEXTBOOK, {"factor": 2}),
        ("mask", "masks:Mask", "missing pixels: centre hole, boxes, strokes or dead pixels", TEXTBOOK, {"shape": "boxes"}),
        (
            "sequence",
            "sequences:Sequence",
            "several degradations, one after the other",
            TEXTBOOK,
            {"steps": [{"part": "core/camera-shake", "length": [3.0, 7.0]}, {"part": "core/gaussian-noise", "sigma": 0.02}]},
        ),
    ):
        yield part("degradation", name, f"{HERE}.{target}", summary=summary, paper=paper, example=example)


def _losses() -> Iterator[Part]:
    module = f"{HERE}.losses"
    for name, target, summary, paper in (
        ("l1", "L1", "mean absolute difference", TEXTBOOK),
        ("l2", "L2", "mean squared difference", TEXTBOOK),
        ("charbonnier", "Charbonnier", "smooth L1", "Charbonnier et al., ICIP 1994, doi:10.1109/ICIP.1994.413553"),
        ("psnr", "PeakSignalToNoise", "negative PSNR", "Chen et al., HINet, CVPR workshops 2021, arXiv:2105.06086"),
        ("ssim", "StructuralSimilarity", "1 - SSIM", "Wang et al., IEEE TIP 2004, doi:10.1109/TIP.2003.819861"),
        ("total-variation", "TotalVariation", "mean gradient of the result, without a target", "Rudin, Osher & Fatemi, Physica D 1992"),
        ("frequency", "Frequency", "L1 between Fourier spectra", "Cho et al., ICCV 2021, arXiv:2108.05054"),
    ):
        yield part("loss", name, f"{module}:{target}", summary=summary, paper=paper)
    yield part(
        "loss",
        "perceptual",
        f"{module}:Perceptual",
        summary="distance between maps of a pretrained network",
        paper="Johnson, Alahi & Fei-Fei, ECCV 2016, arXiv:1603.08155",
        example={"features": TINY_FEATURES, "layers": ["features.0"]},
    )


def _features() -> Iterator[Part]:
    module = f"{HERE}.features"
    for name, target, summary, paper, example in (
        ("vgg19", "Vgg19", "VGG-19 by torchvision", "Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556", {}),
        ("vgg16", "Vgg16", "VGG-16 by torchvision", "Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556", {}),
        ("squeezenet", "SqueezeNet", "SqueezeNet 1.0 by torchvision", "Iandola et al., 2016, arXiv:1602.07360", {}),
        ("inception", "Inception", "Inception v3 by torchvision", "Szegedy et al., CVPR 2016, arXiv:1512.00567", {}),
        (
            "timm",
            "Timm",
            "any network of the timm library that lists its features",
            "Wightman, 2019, doi:10.5281/zenodo.4414861",
            {"network": "resnet10t"},
        ),
    ):
        yield part(
            "features",
            name,
            f"{module}:{target}",
            summary=summary,
            paper=paper,
            licence="Apache-2.0 (the library's weights have their own)",
            example={"weights": "random", **example},
        )


def _adversarial() -> Iterator[Part]:
    module = f"{HERE}.adversarial"
    goodfellow = "Goodfellow et al., NIPS 2014, arXiv:1406.2661"
    for name, target, summary, paper in (
        ("minimax", "Minimax", "the original two-player game", goodfellow),
        ("non-saturating", "NonSaturating", "the game with the generator's stronger gradient", goodfellow),
        ("hinge", "Hinge", "hinge loss", "Lim & Ye, 2017, arXiv:1705.02894"),
        ("lsgan", "LeastSquares", "least squares", "Mao et al., ICCV 2017, arXiv:1611.04076"),
        (
            "ragan-ls",
            "RelativisticAverageLeastSquares",
            "relativistic average, least squares",
            "Jolicoeur-Martineau, ICLR 2019, arXiv:1807.00734",
        ),
        ("wgan", "Wasserstein", "Wasserstein distance, clipped weights", "Arjovsky, Chintala & Bottou, ICML 2017, arXiv:1701.07875"),
        (
            "wgan-gp",
            "WassersteinGradientPenalty",
            "Wasserstein distance, gradient penalty",
            "Gulrajani et al., NIPS 2017, arXiv:1704.00028",
        ),
    ):
        yield part("adversarial", name, f"{module}:{target}", summary=summary, paper=paper)


def _scores() -> Iterator[Part]:
    module = f"{HERE}.metrics"
    yield part("metric", "psnr", f"{module}:Psnr", summary="peak signal-to-noise ratio of 8-bit RGB", paper=TEXTBOOK)
    yield part(
        "metric",
        "ssim",
        f"{module}:Ssim",
        summary="structural similarity of 8-bit RGB, Gaussian window, valid area",
        paper="Wang et al., IEEE TIP 2004, doi:10.1109/TIP.2003.819861",
    )
    yield part(
        "suite",
        "photos",
        "restorekit.bench:suites/photos.yaml",
        summary="the photographs inside scikit-image, blurred and noisy",
        paper="restorekit's benchmark protocol, README",
    )


def _restorers() -> Iterator[Part]:
    module = f"{HERE}.restorers"
    for name, target, summary, paper, example in (
        ("identity", "Identity", "does nothing: the row to beat", TEXTBOOK, {}),
        ("wiener", "Wiener", "Wiener deconvolution with the known PSF", "Wiener, 1949; Orieux et al., JOSA A 2010", {}),
        (
            "unsupervised-wiener",
            "UnsupervisedWiener",
            "Wiener deconvolution that estimates its own regularisation",
            "Orieux, Giovannelli & Rodet, JOSA A 2010, doi:10.1364/JOSAA.27.001593",
            {"iterations": 20},
        ),
        (
            "richardson-lucy",
            "RichardsonLucy",
            "Richardson-Lucy deconvolution with the known PSF",
            "Richardson, JOSA 1972, doi:10.1364/JOSA.62.000055; Lucy, AJ 1974, doi:10.1086/111605",
            {"iterations": 3},
        ),
        ("tv-denoise", "TvDenoise", "total-variation denoising", "Chambolle, JMIV 2004, doi:10.1023/B:JMIV.0000011325.36760.1e", {}),
        ("nlm-denoise", "NlmDenoise", "non-local means denoising", "Buades, Coll & Morel, CVPR 2005, doi:10.1109/CVPR.2005.38", {}),
        (
            "biharmonic-inpaint",
            "BiharmonicInpaint",
            "fills missing pixels smoothly",
            "Damelin & Hoang, 2018, doi:10.1155/2018/3950312",
            {},
        ),
    ):
        yield part("restorer", name, f"{module}:{target}", summary=summary, paper=paper, example=example)
    yield part(
        "restorer",
        "network",
        f"{HERE}.network:Network",
        summary="a trained model file",
        paper="the model's recipe names it",
        example=f"{HERE}.network:example",
    )
