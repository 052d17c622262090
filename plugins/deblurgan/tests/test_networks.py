"""The networks against their papers."""

from __future__ import annotations

import pytest
import torch
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


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_resnet9_has_the_papers_size(upsample: str) -> None:
    """11.38 M: counted by the formula for the layers of figure 3, k·k·in·out + out each."""
    layers = [(7, 3, 64), (3, 64, 128), (3, 128, 256), *[(3, 256, 256)] * 18, (3, 256, 128), (3, 128, 64), (7, 64, 3)]
    expected = sum(k * k * i * o + o for k, i, o in layers)
    assert expected == 11_378_179  # golden: computed once from the line above
    assert parameters(create("generator", "resnet9", upsample=upsample)) == expected


def test_patch70_has_pix2pixs_size_and_sees_70_pixels() -> None:
    critic = create("critic", "patch70", norm="none")
    layers = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert parameters(critic) == sum(16 * i * o + o for i, o in layers)
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    (logits,) = critic(image)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    assert image.grad is not None
    rows = image.grad.abs().sum((0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_a_conditional_critic_looks_at_the_condition() -> None:
    critic = create("critic", "patch70", width=8, conditional=True)
    image, first, second = torch.rand(3, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(critic(image, first)[0], critic(image, second)[0])
    with pytest.raises(ValueError, match="needs the degraded image"):
        critic(image)


def checkerboard(upsample: str) -> float:
    """Share of the spectrum's energy at the frequencies (1/2, ·) and (·, 1/2), where up-sampling by two leaves its pattern.

    Averaged over random weights; the input is constant, so all structure inside is the network's own.
    """
    from restorekit_deblurgan.resnet import _upsampling

    total = 0.0
    for seed in range(8):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            up = _upsampling(16, upsample)
        with torch.no_grad():
            made = up(torch.full((1, 16, 32, 32), 0.5))[..., 8:-8, 8:-8]
        spectrum = torch.fft.fft2(made - made.mean((2, 3), keepdim=True)).abs().square()
        total += float(spectrum.sum() / made.square().sum())
    return total / 8


def test_resize_convolution_leaves_no_checkerboard_and_the_published_one_does() -> None:
    assert checkerboard("resize") < 1e-9
    assert checkerboard("transposed") > 1e-2


def test_compact_is_small_enough_to_ship_and_starts_as_the_identity() -> None:
    network = create("generator", "compact").eval()
    assert parameters(network) <= 3_000_000
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(image), image)


def test_compact_without_attention_is_local() -> None:
    assert create("generator", "compact", attention=False).local
    assert not create("generator", "compact").local


def test_compact_refuses_no_levels() -> None:
    with pytest.raises(rk.UserError, match=r"blocks: give at least one level"):
        create("generator", "compact", blocks=[])
