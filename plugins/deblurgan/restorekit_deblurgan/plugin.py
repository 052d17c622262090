"""Manifest of the namespace ``deblurgan``."""

from __future__ import annotations

from collections.abc import Iterator

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

HERE = "restorekit_deblurgan"
DEBLURGAN = "Kupyn et al., DeblurGAN, CVPR 2018, arXiv:1711.07064"
DEBLURGAN_V2 = "Kupyn et al., DeblurGAN-v2, ICCV 2019, arXiv:1908.03826"
KERAS = "Meudec, Keras implementation of DeblurGAN, 2018, github.com/RaphaelMeudec/deblur-gan"
PIX2PIX = "Isola et al., pix2pix, CVPR 2017, arXiv:1611.07004"
NAFNET = "Chen et al., NAFNet, ECCV 2022, arXiv:2204.04676"
COMPACT = "restorekit, 2026; after Chen et al., NAFNet, ECCV 2022, arXiv:2204.04676, and Schuler et al., TPAMI 2016, arXiv:1406.7444"

WEIGHTS = "Apache-2.0 (weights trained on BSDS500: research and education, non-commercial)"


@hookimpl
def restorekit_parts() -> Iterator[Part]:
    """Networks, recipes and the shipped model."""
    yield Part(
        "generator",
        "resnet9",
        f"{HERE}.resnet:ResNet",
        summary="DeblurGAN's generator: nine residual blocks at quarter resolution",
        paper=DEBLURGAN,
        licence="Apache-2.0",
        importer=f"{HERE}.importing:resnet",
        example={"blocks": 1, "width": 8},
    )
    yield Part(
        "generator",
        "unet256",
        f"{HERE}.unet:UNet256",
        summary="pix2pix's U-Net, of any number of levels",
        paper=PIX2PIX,
        licence="Apache-2.0",
        importer=f"{HERE}.importing:unet",
        example={"levels": 6, "width": 2},
    )
    yield Part(
        "generator",
        "fpn",
        f"{HERE}.fpn:Fpn",
        summary="DeblurGAN-v2's generator: a feature pyramid over any hierarchical network of timm",
        paper=DEBLURGAN_V2,
        licence="Apache-2.0 (the backbone's weights have their own)",
        importer=f"{HERE}.importing:fpn",
        example={"backbone": "test_resnet", "weights": "random", "width": 8},
    )
    yield Part(
        "generator",
        "compact",
        f"{HERE}.compact:Compact",
        summary="small U-shaped network of gated blocks, on its own or behind a blind deconvolution",
        paper=COMPACT,
        licence="Apache-2.0",
        example={"psf": {"part": "core/l0", "size": 5, "rounds": 1}, "stages": 2, "width": 8, "blocks": [1], "middle": 1},
    )
    yield Part(
        "generator",
        "gated",
        f"{HERE}.gated:Gated",
        summary="the larger sibling of compact for a GPU: NAFNet's gated blocks at full resolution",
        paper=NAFNET,
        licence="Apache-2.0",
        example={"width": 4, "blocks": [1], "decoder": [1]},
    )
    yield Part(
        "critic",
        "patch70",
        f"{HERE}.critics:PatchCritic",
        summary="PatchGAN critic whose logits see 70×70 pixels each",
        paper=PIX2PIX,
        licence="Apache-2.0",
        example={"width": 8},
    )
    yield Part(
        "critic",
        "double-scale",
        f"{HERE}.critics:DoubleScaleCritic",
        summary="DeblurGAN-v2's critics of patches and of the whole",
        paper=DEBLURGAN_V2,
        licence="Apache-2.0",
        example={"patch_layers": 1, "whole_layers": 2, "width": 4},
    )
    yield Part(
        "critic",
        "single-value",
        f"{HERE}.critics:SingleValueCritic",
        summary="critic that gives one number for an image of a fixed size: convolutions, then dense layers",
        paper=KERAS,
        licence="Apache-2.0",
        example={"size": 64, "width": 4, "hidden": 8},
    )
    yield Part(
        "recipe",
        "v1",
        f"{HERE}:recipes/v1.yaml",
        summary="DeblurGAN as published: WGAN-GP, five critic steps, perceptual loss",
        paper=DEBLURGAN,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "keras",
        f"{HERE}:recipes/keras.yaml",
        summary="the Keras version of DeblurGAN: critic of one number, Wasserstein distance, perceptual loss",
        paper=KERAS,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "unet",
        f"{HERE}:recipes/unet.yaml",
        summary="pix2pix: U-Net, conditional PatchGAN, L1",
        paper=PIX2PIX,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "v2-mobilenet",
        f"{HERE}:recipes/v2-mobilenet.yaml",
        summary="DeblurGAN-v2 over MobileNet-v2, the fast one",
        paper=DEBLURGAN_V2,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "v2-inception",
        f"{HERE}:recipes/v2-inception.yaml",
        summary="DeblurGAN-v2 over Inception-ResNet-v2, the best one",
        paper=DEBLURGAN_V2,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "gated",
        f"{HERE}:recipes/gated.yaml",
        summary="NAFNet as published, on synthetic camera shake; for a GPU",
        paper=NAFNET,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "default",
        f"{HERE}:recipes/default.yaml",
        summary="blind deconvolution and a compact network, on synthetic camera shake; an afternoon without a GPU",
        paper=COMPACT,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "shipped",
        f"{HERE}:recipes/shipped.yaml",
        summary="deblurgan/default with a third stage, on shake that varies; makes the shipped model, on a GPU",
        paper=COMPACT,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "denoise",
        f"{HERE}:recipes/denoise.yaml",
        summary="a compact network against noise and JPEG artefacts, alone and together",
        paper=COMPACT,
        licence="Apache-2.0",
    )
    yield Part(
        "recipe",
        "finetune",
        f"{HERE}:recipes/finetune.yaml",
        summary="adapts the shipped model to a few of your own photographs or pairs (--init deblurgan/shipped)",
        paper=COMPACT,
        licence="Apache-2.0",
    )
    yield Part(
        "restorer",
        "shipped",
        f"{HERE}.shipped:Shipped",
        summary="removes camera shake with the model that comes with this plugin",
        paper=COMPACT,
        licence=WEIGHTS,
        default_for="restore",
    )
    yield Part(
        "restorer",
        "denoise",
        f"{HERE}.shipped:Denoise",
        summary="removes noise and JPEG artefacts with the other model that comes with this plugin",
        paper=COMPACT,
        licence=WEIGHTS,
    )
