"""Manifest of the namespace ``core``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit.builtin"
TEXTBOOK = "textbook"
OURS = "restorekit's benchmark protocol, benchmarks/README.md"

part = partial(Part, licence="Apache-2.0")

TINY_FEATURES: Mapping[str, Any] = {"part": "core/squeezenet", "weights": "random"}


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Everything that needs no plugin."""
    yield from _degradations()
    yield from _losses()
    yield from _features()
    yield from _estimators()
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
            {"length": [3.0, 7.0], "rotation": 2.0, "light": "linear", "highlights": 4.0},
        ),
        ("motion-blur", "blurs:MotionBlur", "blur along a straight line", TEXTBOOK, {"length": [3.0, 7.0]}),
        ("gaussian-blur", "blurs:GaussianBlur", "blur by a Gaussian", TEXTBOOK, {"sigma": [0.5, 1.5]}),
        (
            "psf-file",
            "psf_file:PsfFile",
            "blur by kernels from a file, such as measured ones",
            "Levin et al., CVPR 2009, doi:10.1109/CVPR.2009.5206815",
            f"{HERE}.psf_file:example",
        ),
        ("defocus", "blurs:Defocus", "blur by a lens out of focus", TEXTBOOK, {"radius": [1.0, 3.0], "light": "linear", "highlights": 4.0}),
        ("gaussian-noise", "degradations:GaussianNoise", "additive white Gaussian noise", TEXTBOOK, {"sigma": 0.05}),
        ("poisson-noise", "degradations:PoissonNoise", "shot noise of few photons", TEXTBOOK, {"photons": [50.0, 500.0]}),
        ("saturation", "degradations:Saturation", "highlights lost to over-exposure", TEXTBOOK, {"stops": [0.5, 2.0]}),
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
        (
            "random-order",
            "sequences:RandomOrder",
            "several degradations, in another order for each image",
            "after Zhang et al., ICCV 2021, arXiv:2103.14006",
            {"steps": [{"part": "core/camera-shake", "length": [3.0, 7.0]}, {"part": "core/gaussian-noise", "sigma": 0.05}]},
        ),
        (
            "one-of",
            "sequences:OneOf",
            "one of several degradations for each image, drawn by weight",
            "after Zhang et al., ICCV 2021, arXiv:2103.14006",
            {"choices": [{"part": "core/camera-shake", "length": [3.0, 7.0]}, {"part": "core/gaussian-noise", "sigma": 0.05}]},
        ),
        (
            "sometimes",
            "sequences:Sometimes",
            "a degradation of a share of the images",
            "after Zhang et al., ICCV 2021, arXiv:2103.14006",
            {"degradation": {"part": "core/jpeg", "quality": [60, 95]}, "probability": 0.5},
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
        ("squeezenet", "SqueezeNet", "SqueezeNet by torchvision", "Iandola et al., 2016, arXiv:1602.07360", {}),
        ("alexnet", "AlexNet", "AlexNet by torchvision", "Krizhevsky, 2014, arXiv:1404.5997", {}),
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


def _estimators() -> Iterator[Part]:
    yield part(
        "estimator",
        "l0",
        f"{HERE}.estimators:L0Estimator",
        summary="PSF of a shaken camera by a prior that counts edges",
        paper="Xu, Zheng & Jia, CVPR 2013, doi:10.1109/CVPR.2013.147",
        example={"size": 9, "rounds": 2},
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
    yield part(
        "adversarial",
        "r1",
        f"{module}:NonSaturatingR1",
        summary="the game with the stronger gradient and a critic that is flat at real images",
        paper="Mescheder, Geiger & Nowozin, ICML 2018, arXiv:1801.04406",
    )


def _scores() -> Iterator[Part]:
    wang = "Wang et al., IEEE TIP 2004, doi:10.1109/TIP.2003.819861"
    for name, target, summary, paper, example in (
        ("psnr", "metrics:Psnr", "peak signal-to-noise ratio of 8-bit RGB", TEXTBOOK, {}),
        ("psnr-float", "metrics:PsnrFloat", "peak signal-to-noise ratio, neither clipped nor rounded", TEXTBOOK, {}),
        ("psnr-y", "metrics:PsnrY", "peak signal-to-noise ratio of the luma of 8-bit RGB", TEXTBOOK, {}),
        ("ssim", "ssim:Ssim", "structural similarity of 8-bit RGB, Gaussian window, valid area", wang, {}),
        ("ssim-y", "ssim:SsimY", "structural similarity of the luma of 8-bit RGB", wang, {}),
        ("ssim-matlab3d", "ssim:SsimMatlab3d", "structural similarity as MATLAB gives it for RGB: colour as a third dimension", wang, {}),
        (
            "ms-ssim",
            "ssim:MsSsim",
            "structural similarity at several scales, of 8-bit RGB",
            "Wang, Simoncelli & Bovik, Asilomar 2003, doi:10.1109/ACSSC.2003.1292216",
            {"scales": 3},
        ),
        (
            "sharpness",
            "sharpness:Sharpness",
            "variance of the Laplacian, without a reference",
            "Pech-Pacheco et al., ICPR 2000, doi:10.1109/ICPR.2000.903548",
            {},
        ),
        (
            "blur-effect",
            "sharpness:BlurEffect",
            "perceived blur from 0 to 1, without a reference",
            "Crété et al., SPIE 6492, 2007, doi:10.1117/12.702790",
            {},
        ),
    ):
        yield part("metric", name, f"{HERE}.{target}", summary=summary, paper=paper, example=example)
    yield part(
        "metric",
        "lpips",
        f"{HERE}.perceptual:Lpips",
        summary="learned distance between the maps of a network",
        paper="Zhang et al., CVPR 2018, arXiv:1801.03924",
        licence="Apache-2.0 (the linear layers by the package lpips: BSD-2-Clause; the backbone's weights have their own)",
        example={"network": "squeeze", "weights": "random"},
    )
    small = {"features": TINY_FEATURES, "layer": "features.5", "resize": 64}
    for name, target, summary, paper in (
        ("fid", "Fid", "Fréchet distance between the features of two sets", "Heusel et al., NIPS 2017, arXiv:1706.08500"),
        ("kid", "Kid", "kernel distance between the features of two sets", "Bińkowski et al., ICLR 2018, arXiv:1801.01401"),
    ):
        yield part("set-metric", name, f"{HERE}.distribution:{target}", summary=summary, paper=paper, example=small)
    kynkaanniemi = "Kynkäänniemi et al., NeurIPS 2019, arXiv:1904.06991"
    for name, target, summary, paper in (
        ("precision", "Precision", "share of the pictures that lie among those of the other set", kynkaanniemi),
        ("recall", "Recall", "share of the other set's pictures that lie among these", kynkaanniemi),
        ("diversity", "Diversity", "mean distance between two pictures of the set", TEXTBOOK),
    ):
        yield part("set-metric", name, f"{HERE}.manifolds:{target}", summary=summary, paper=paper, example=small)
    for name, summary, paper in (
        ("photos", "the photographs inside scikit-image: shake, noise, JPEG and missing pixels; runs anywhere", OURS),
        ("inpaint-photos", "the photographs inside scikit-image with missing pixels of four shapes", OURS),
        ("cbsd68-shake", "CBSD68 with camera shake of 5-9, 10-15 and 16-22 pixels", OURS),
        ("cbsd68-shake-sharp", "CBSD68 with camera shake, and as it is: good pictures must stay good", OURS),
        ("denoise-cbsd68", "CBSD68 with white noise of 15, 25 and 50 levels", OURS),
        ("jpeg-cbsd68", "CBSD68 as JPEG of quality 20, 40 and 60", OURS),
        ("set14-levin", "Set14 blurred with eight measured kernels", "Levin et al., CVPR 2009, doi:10.1109/CVPR.2009.5206815"),
        ("gopro", "GoPro's test pictures, blur", "Nah, Kim & Lee, CVPR 2017, arXiv:1612.02177"),
        ("gopro-gamma", "GoPro's test pictures, blur_gamma", "Nah, Kim & Lee, CVPR 2017, arXiv:1612.02177"),
        ("hide", "HIDE's test pictures of people", "Shen et al., ICCV 2019, arXiv:2001.06816"),
        ("realblur-j", "RealBlur-J's test pictures, results aligned", "Rim et al., ECCV 2020, doi:10.1007/978-3-030-58595-2_12"),
        ("realblur-r", "RealBlur-R's test pictures, results aligned", "Rim et al., ECCV 2020, doi:10.1007/978-3-030-58595-2_12"),
        ("kohler", "recorded camera shakes, best frame of the trajectory", "Köhler et al., ECCV 2012, doi:10.1007/978-3-642-33786-4_3"),
    ):
        yield part("suite", name, f"restorekit.bench:suites/{name}.yaml", summary=summary, paper=paper)


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
        "tuned-wiener",
        f"{HERE}.tuned_wiener:TunedWiener",
        summary="Wiener deconvolution with the known PSF, its regularisation tuned to each image",
        paper="Wiener, 1949; Golub, Heath & Wahba, Technometrics 1979, doi:10.1080/00401706.1979.10489751",
    )
    yield part(
        "restorer",
        "blind",
        f"{HERE}.blind:BlindDeconvolution",
        summary="a non-blind restorer with the PSF that an estimator finds",
        paper="Levin et al., CVPR 2009, doi:10.1109/CVPR.2009.5206815",
        example={"psf": {"part": "core/l0", "size": 9, "rounds": 1}, "restorer": {"part": "core/wiener"}},
    )
    yield part(
        "restorer",
        "network",
        f"{HERE}.network:Network",
        summary="a trained model file",
        paper="the model's recipe names it",
        example=f"{HERE}.network:example",
    )
