"""The networks against their papers."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch
from restorekit_deblurgan.deconvolution import Deconvolution
from restorekit_deblurgan.refinement import Refinement, fits
from scipy import signal
from skimage import data
from torch import nn

import restorekit as rk
from restorekit.conformance import parametrize_parts
from restorekit.images import Degraded


@parametrize_parts("deblurgan")
def test_conforms(conformance_case) -> None:  # type: ignore[no-untyped-def]
    conformance_case.run()


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def create(kind: str, name: str, **options: object):  # type: ignore[no-untyped-def]
    return rk.registry().create(kind, f"deblurgan/{name}", **options)


@pytest.mark.parametrize("name", ["shipped", "denoise"])
def test_the_shipped_models_are_small(name: str) -> None:
    """At most 5 M weights and 12 MB."""
    restorer = create("restorer", name)
    assert parameters(restorer.model.generator) <= 5_000_000
    assert files("restorekit_deblurgan").joinpath("weights", restorer.weights).stat().st_size <= 12e6


@pytest.mark.parametrize("name", ["shipped", "denoise"])
def test_a_shipped_model_is_of_the_network_of_its_recipe(name: str) -> None:
    ours = create("restorer", name).model.recipe
    assert ours.content["generator"] == rk.recipe(f"deblurgan/{name}").check().content["generator"]


def test_the_shipped_model_finds_the_blur_of_each_window() -> None:
    image = torch.rand(1, 3, 64, 640, generator=torch.Generator().manual_seed(0))
    restorer = create("restorer", "shipped", window=256)
    seen: list[int] = []
    restorer.model.generator.psf.register_forward_hook(lambda module, inputs, psf: seen.append(inputs[0].shape[-1]))
    restored = restorer.restore(Degraded(image))
    assert restored.shape == image.shape
    assert seen == [352, 352]  # two, not three of 256 that would overlap by a third
    seen.clear()
    restorer.restore(Degraded(image[..., :384]))
    assert seen[-1] == 384  # as a whole


def test_noise_goes_and_the_picture_stays() -> None:
    """At σ 25 of 255 scikit-image's non-local means reach 27.9 dB on CBSD68; here a crop of a portrait has to gain 8 dB."""
    sharp = torch.from_numpy(data.astronaut()[:160, 120:280].copy()).permute(2, 0, 1)[None] / 255
    noisy = (sharp + 25 / 255 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    restored = create("restorer", "denoise").restore(Degraded(noisy))
    before, after = (-10 * (image - sharp).square().mean().log10() for image in (noisy, restored))
    assert after > before + 8


def test_compact_starts_as_the_identity() -> None:
    network = create("generator", "compact").eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(image), image)


def test_compact_without_attention_is_local() -> None:
    assert create("generator", "compact", attention=False).local
    assert not create("generator", "compact").local


def test_compact_refuses_no_levels() -> None:
    with pytest.raises(rk.UserError, match=r"blocks: give at least one level"):
        create("generator", "compact", blocks=[])


def test_compact_refuses_to_refine_what_no_stage_uses() -> None:
    with pytest.raises(rk.UserError, match=r"refine: .* set stages to 2"):
        create("generator", "compact", psf="core/l0", refine=True)


def test_compact_refuses_stages_without_a_psf() -> None:
    with pytest.raises(rk.UserError, match=r"stages: 2 needs psf"):
        create("generator", "compact", stages=2)


def shaken(side: int = 96) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A photograph, the same shaken, and the PSF."""
    sharp = torch.from_numpy(data.astronaut()[40 : 40 + side, 180 : 180 + side]).permute(2, 0, 1)[None].double() / 255
    degraded = rk.registry().create("degradation", "core/camera-shake", length=9)
    params = degraded.sample(1, (3, side, side), torch.Generator().manual_seed(3))
    return sharp, degraded.apply(sharp, params).image, params["psf"].double()


def test_deconvolution_blurs_as_scipy_does_and_undoes_it() -> None:
    sharp, blurred, psf = shaken()
    deconvolution = Deconvolution(psf, 96, 96)
    margin = psf.shape[-1] // 2
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    reference = np.stack([signal.convolve2d(channel, psf[0], mode="valid") for channel in sharp[0].numpy()])
    np.testing.assert_allclose(deconvolution.blur(sharp)[inside][0].numpy(), reference, atol=1e-9)
    weak, strong = deconvolution.sharpen(blurred, (1e-3, 1e-1))
    errors = [float((image - sharp)[inside].square().mean()) for image in (blurred, strong, weak)]
    assert errors[2] < errors[1] < errors[0]


def test_deconvolution_passes_gradients() -> None:
    image = torch.rand(1, 1, 20, 22, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    deconvolution = Deconvolution(torch.full((1, 3, 3), 1 / 9, dtype=torch.float64), 20, 22)

    def sharpened(image: torch.Tensor) -> torch.Tensor:
        return deconvolution.sharpen(image - deconvolution.blur(image), (0.05,))[0]

    assert torch.autograd.gradcheck(sharpened, image, fast_mode=True)


def test_a_further_stage_starts_as_the_identity_and_then_corrects_the_stage_before() -> None:
    _, blurred, _ = shaken()
    estimator = {"part": "core/l0", "size": 15, "rounds": 1}
    options = {"psf": estimator, "width": 8, "blocks": [1], "middle": 1}
    one, two = (create("generator", "compact", stages=stages, **options).eval() for stages in (1, 2))
    two.networks[0].load_state_dict(one.networks[0].state_dict())
    with torch.no_grad():
        torch.testing.assert_close(two(blurred.float()), one(blurred.float()))
        two.networks[1].head.bias.fill_(0.1)
        torch.testing.assert_close(two(blurred.float()), one(blurred.float()) + 0.1)


# The correction of the PSF.


def along_a_line() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sharp = torch.from_numpy(data.astronaut()[100:260, 120:280].copy()).permute(2, 0, 1)[None].float() / 255
    psf = torch.zeros(1, 15, 15)
    psf[0, 7, 3:12] = 1 / 9
    return sharp, psf, rk.registry().create("degradation", "core/camera-shake").apply(sharp, {"psf": psf}).image


def test_a_correction_that_was_not_trained_changes_nothing() -> None:
    sharp, psf, blurred = along_a_line()
    torch.testing.assert_close(Refinement()(psf, sharp, blurred), psf)


def test_the_fits_of_a_correction_find_the_psf_between_two_pictures() -> None:
    """The weaker the penalty, the nearer; a picture against itself gives a point in the middle."""
    sharp, psf, blurred = along_a_line()
    weak, strong = fits(sharp, blurred, 15)
    similar = [float((fit * psf).sum() / (fit.norm() * psf.norm())) for fit in (weak, strong)]
    assert similar[0] > 0.95
    assert similar[0] >= similar[1]
    same, _ = fits(sharp, sharp, 15)
    assert same[0].argmax() == 7 * 15 + 7


def test_a_correction_passes_gradients_to_the_restored_image() -> None:
    sharp, psf, blurred = along_a_line()
    refinement = Refinement(width=8, depth=1)
    torch.nn.init.normal_(refinement.head.weight, generator=torch.Generator().manual_seed(0))
    restored = sharp.clone().requires_grad_()
    refinement(psf, restored, blurred).square().sum().backward()
    assert restored.grad is not None
    assert restored.grad.abs().sum() > 0
