"""The networks against their papers."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch
from restorekit_deblurgan.deconvolution import Deconvolution
from restorekit_deblurgan.shipped import WEIGHTS
from scipy import signal
from skimage import data
from torch import nn

import restorekit as rk
from restorekit.conformance import parametrize_parts


@parametrize_parts("deblurgan")
def test_conforms(conformance_case) -> None:  # type: ignore[no-untyped-def]
    conformance_case.run()


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def create(kind: str, name: str, **options: object):  # type: ignore[no-untyped-def]
    return rk.registry().create(kind, f"deblurgan/{name}", **options)


def test_the_shipped_model_is_small() -> None:
    """At most 5 M weights and 12 MB."""
    assert parameters(rk.registry().create("restorer", "deblurgan/shipped").model.generator) <= 5_000_000
    assert files("restorekit_deblurgan").joinpath(WEIGHTS).stat().st_size <= 12e6


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
