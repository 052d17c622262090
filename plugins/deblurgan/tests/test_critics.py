"""The critics against what they were made after."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import restorekit as rk
from restorekit import photos

SMALL = {
    "patch70": {"width": 8},
    "double-scale": {"width": 8, "patch_layers": 1, "whole_layers": 2},
    "single-value": {"width": 4, "size": 64, "hidden": 8},
}


def create(name: str, **options: object) -> Any:
    return rk.registry().create("critic", f"deblurgan/{name}", **options)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def seen(logits: Tensor, image: Tensor) -> int:
    """How many pixels across the logit in the middle depends on."""
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    columns = gradient.abs().sum((0, 1, 2)).nonzero()
    return int(columns.max() - columns.min()) + 1


def test_every_critic_is_in_this_file() -> None:
    names = {part.name.partition("/")[2] for part in rk.registry().of_kind("critic") if part.namespace == "deblurgan"}
    assert names == set(SMALL)


def test_patch70_has_pix2pixs_size_and_sees_70_pixels() -> None:
    critic = create("patch70", norm="none")
    layers = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert parameters(critic) == sum(16 * i * o + o for i, o in layers)
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    (logits,) = critic(image)
    assert logits.shape == (1, 1, 30, 30)
    assert seen(logits, image) == 70


def test_double_scale_sees_patches_and_more_than_the_papers_crop() -> None:
    """70×70 and, of a crop of 256, everything."""
    critic = create("double-scale", width=2, norm="none")
    image = torch.rand(1, 3, 512, 512, requires_grad=True)
    whole, patch = critic(image)
    assert [seen(whole, image), seen(patch, image)] == [286, 70]
    assert [tuple(logits.shape) for logits in critic(image[..., :256, :256])] == [(1, 1, 6, 6), (1, 1, 30, 30)]


def test_single_value_has_the_layers_and_the_size_of_the_keras_critic() -> None:
    """Of deblurgan/model.py: four strided 4×4 convolutions, two more, then 1024 values and one."""
    critic = create("single-value")
    widths = [(3, 64), (64, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    norms = 2 * (64 + 128 + 256 + 512)
    dense = (16 * 16 * 1024 + 1024) + (1024 + 1)
    assert parameters(critic) == sum(16 * i * o + o for i, o in widths) + norms + dense
    (logits,) = critic.eval()(torch.rand(2, 3, 256, 256))
    assert logits.shape == (2, 1, 1, 1)


@pytest.mark.parametrize("name", SMALL)
def test_a_conditional_critic_looks_at_the_condition(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = create(name, conditional=True, **SMALL[name]).eval()
    image, first, second = torch.rand(3, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for one, other in zip(critic(image, first), critic(image, second), strict=True):
        assert not torch.equal(one, other)  # some are tiny before any training
    with pytest.raises(ValueError, match="needs the degraded image"):
        critic(image)


@pytest.mark.parametrize(
    ("name", "options", "size", "message"),
    [
        ("patch70", {}, 16, r"at least 24×24 pixels and got 16×16; raise data\.crop"),
        ("double-scale", {}, 64, r"at least 96×96 pixels and got 64×64"),
        ("single-value", {}, 128, r"judges 256×256 pixels and got 128×128; make critic\.size and data\.crop equal"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(name: str, options: dict[str, object], size: int, message: str) -> None:
    with pytest.raises(rk.UserError, match=message):
        create(name, **options)(torch.rand(1, 3, size, size))


@pytest.mark.parametrize(("name", "size"), [("patch70", 24), ("double-scale", 96)])
def test_the_smallest_image_is_judged(name: str, size: int) -> None:
    assert create(name, width=2)(torch.rand(1, 3, size, size))[0].shape == (1, 1, 1, 1)


def test_a_size_that_the_strides_do_not_divide_is_refused() -> None:
    with pytest.raises(rk.UserError, match=r"size: got 100; expected int multiple of 16"):
        create("single-value", size=100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_penalty_in_bfloat16_leaves_the_critic_where_one_in_float32_does(seed: int) -> None:
    """What the critic of WGAN-GP tells sharp patches from blurred ones by, after 200 steps."""
    gaps = {precision: _gap(precision, seed) for precision in ("float32", "step")}
    assert gaps["float32"] > 0
    assert gaps["step"] == pytest.approx(gaps["float32"], rel=0.03)


def _gap(precision: str, seed: int) -> float:
    """Mean of D(sharp) - D(blurred) over the last 50 of 200 steps of `deblurgan/patch70` in bfloat16."""
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = create("patch70", width=32).train()
        objective = rk.registry().create("adversarial", "core/wgan-gp", penalty_precision=precision)
        shake = rk.registry().create("degradation", "core/camera-shake", length=(5, 22))
        photograph = photos.bundled_photo("coffee").image
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-4, betas=(0.5, 0.999))
        gaps = []
        for _ in range(200):
            corners = [
                (int(torch.randint(photograph.shape[-2] - 96, (), generator=rng)), int(torch.randint(500, (), generator=rng)))
                for _ in range(4)
            ]
            sharp = torch.cat([photograph[..., top : top + 96, left : left + 96] for top, left in corners])
            blurred = shake.apply(sharp, shake.sample(4, sharp.shape[1:], rng)).image
            with torch.autocast("cpu", dtype=torch.bfloat16):
                terms = objective.critic_terms(critic, sharp, blurred)
            optimizer.zero_grad()
            sum(terms.values()).backward()
            optimizer.step()
            gaps.append(-(terms["real"] + terms["fake"]).item())
    return sum(gaps[-50:]) / 50
