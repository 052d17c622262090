"""Up-sampling by two and the pattern that it may leave, seen in the spectrum."""

from __future__ import annotations

import pytest
import torch
from restorekit_deblurgan.parts import upsampling
from torch import Tensor, nn

import restorekit as rk

LEFT = 1e-20
"""Of the input's energy: nothing but rounding in float64."""

SIDE = 24


def inputs() -> dict[str, Tensor]:
    """A constant and two ramps ``(1, 8, 24, 24)``, every channel with a factor of its own."""
    factors = torch.linspace(-1, 1.5, 8, dtype=torch.float64).view(1, 8, 1, 1)
    line = torch.arange(SIDE, dtype=torch.float64)
    return {
        "constant": factors.expand(1, 8, SIDE, SIDE),
        "ramp": factors * line.expand(SIDE, SIDE),
        "slanted ramp": factors * (line - 2 * line[:, None]),
    }


def pattern(made: Tensor) -> float:
    """Energy at the frequencies (1/2, ·) and (·, 1/2), over that of the picture, the plane that fits best taken away."""
    inside = made[..., 8:-8, 8:-8]
    rows, columns = inside.shape[-2:]
    down, across = torch.meshgrid(torch.arange(rows).double(), torch.arange(columns).double(), indexing="ij")
    plane = torch.stack([torch.ones_like(down), down, across], dim=-1).reshape(-1, 3)
    values = inside.reshape(-1, rows * columns).T
    rest = values - plane @ torch.linalg.lstsq(plane, values).solution
    spectrum = torch.fft.fft2(rest.T.reshape(-1, rows, columns), norm="ortho").abs().square()
    there = spectrum[:, rows // 2].sum() + spectrum[:, :, columns // 2].sum()
    return float(there / values.square().sum())


def drawn(how: str, seed: int) -> nn.Module:
    """An up-sampling with weights from a normal distribution, as after training: nothing is left of how it began."""
    up = upsampling(8, 4, how).double()  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in up.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return up


@pytest.mark.parametrize("how", ["resize", "shuffle"])
@pytest.mark.parametrize("given", inputs())
def test_leaves_no_checkerboard_whatever_the_weights(how: str, given: str) -> None:
    with torch.no_grad():
        assert max(pattern(drawn(how, seed)(inputs()[given])) for seed in range(4)) < LEFT


@pytest.mark.parametrize("given", inputs())
def test_the_published_one_leaves_a_checkerboard(given: str) -> None:
    with torch.no_grad():
        assert min(pattern(drawn("transposed", seed)(inputs()[given])) for seed in range(4)) > 1e-4


def test_shuffle_starts_as_interpolation_of_one_convolution() -> None:
    """ICNR: before training the four values that a pixel becomes are equal, and with the blur they are bilinear interpolation."""
    network = rk.registry().create("generator", "deblurgan/resnet9", blocks=0, width=4, upsample="shuffle")
    up = network.body[10]
    maps = torch.rand(1, 16, 9, 7, generator=torch.Generator().manual_seed(0))
    weight, bias = up[1].weight[::4], up[1].bias[::4]
    one = nn.functional.conv2d(nn.functional.pad(maps, (1, 1, 1, 1), mode="reflect"), weight, bias)
    expected = nn.functional.interpolate(one, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(up(maps), expected)


@pytest.mark.parametrize(("how", "clean"), [("resize", True), ("shuffle", True), ("transposed", False)])
def test_the_whole_network_leaves_none_in_an_even_picture(how: str, clean: bool) -> None:
    network = rk.registry().create("generator", "deblurgan/resnet9", blocks=1, width=8, norm="none", upsample=how).double().eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
        made = network(torch.full((1, 3, 128, 128), 0.5, dtype=torch.float64))[..., 32:-32, 32:-32]
    assert (pattern(made) < LEFT) == clean
