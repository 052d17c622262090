"""Losses of content and moments, losses against a reference, and sharing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from restorekit_style.losses import ContentLoss, GramLoss, MomentsLoss, gram, normalised
from torch import Tensor, nn

import restorekit as rk
from restorekit.images import Degraded
from restorekit.interfaces import Features

LAYERS = ("shallow", "deep")


class Maps(Features):
    """Two layers of a tiny smooth network, which counts how often it is run."""

    layers = LAYERS

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.seed, self.passes = "random", 0, 0
        rng = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(4, 3, 3, 3, generator=rng, dtype=torch.float64) / 5, requires_grad=False)
        self.second = nn.Parameter(torch.randn(6, 4, 3, 3, generator=rng, dtype=torch.float64) / 6, requires_grad=False)

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        self.passes += 1
        shallow = torch.tanh(nn.functional.conv2d(image, self.first, padding=1))
        deep = torch.tanh(nn.functional.conv2d(shallow, self.second, stride=2, padding=1))
        return {name: {"shallow": shallow, "deep": deep}[name] for name in layers}


def images(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_content_is_its_formula() -> None:
    loss = ContentLoss(features=Maps(), layers=LAYERS)
    first, second = images(2, 3, 9, 7, seed=1), images(2, 3, 9, 7, seed=2)
    made, wanted = (Maps()(image, LAYERS) for image in (first, second))
    each = [
        np.mean([((a - b) ** 2).sum() / (b**2).sum() for a, b in zip(made[layer].numpy(), wanted[layer].numpy(), strict=True)])
        for layer in LAYERS
    ]
    assert loss(first, second, Degraded(first)).item() == pytest.approx(np.mean(each), rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: loss(x, second, Degraded(second)), first.clone().requires_grad_())


def test_normalised_content_is_its_formula_and_leaves_strength_free() -> None:
    loss = ContentLoss(features=Maps(), layers=LAYERS, normalised=True)
    first, second = images(2, 3, 9, 7, seed=1), images(2, 3, 9, 7, seed=2)
    each = []
    for layer in LAYERS:
        made, wanted = (F.instance_norm(Maps()(image, LAYERS)[layer], eps=1e-5) for image in (first, second))
        each.append(((made - wanted).square().sum((1, 2, 3)) / wanted.square().sum((1, 2, 3))).mean())
    assert loss(first, second, Degraded(first)).item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: loss(x, second, Degraded(second)), first.clone().requires_grad_())
    maps = images(2, 4, 9, 7, seed=3)
    torch.testing.assert_close(normalised(3 * maps + 1), normalised(maps), atol=2e-4, rtol=0)


def test_moments_are_their_formula() -> None:
    loss = MomentsLoss(features=Maps(), layers=LAYERS, layer_weights=(0.3, 2.0))
    first, second = images(2, 3, 9, 7, seed=1), images(2, 3, 12, 8, seed=2)
    made, wanted = (Maps()(image, LAYERS) for image in (first, second))
    expected = 0.0
    for layer, weight in zip(LAYERS, (0.3, 2.0), strict=True):
        a, b = made[layer].numpy(), wanted[layer].numpy()
        squares = (a.mean((2, 3)) - b.mean((2, 3))) ** 2 + (a.std((2, 3)) - b.std((2, 3))) ** 2
        expected += weight * squares.mean()
    assert loss(first, second, Degraded(first)).item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: loss(x, second, Degraded(second)), first.clone().requires_grad_())


@pytest.mark.parametrize("kind", [GramLoss, MomentsLoss])
def test_against_the_reference(kind: type[GramLoss] | type[MomentsLoss]) -> None:
    restored, target, style = images(2, 3, 8, 8, seed=1), images(2, 3, 8, 8, seed=2), images(1, 3, 12, 10, seed=3)
    loss = kind(features=Maps(), layers=LAYERS, against="reference")
    plain = kind(features=Maps(), layers=LAYERS)
    assert not loss.needs_target
    for reference in (style, style.expand(2, -1, -1, -1)):
        found = loss(restored, target, Degraded(restored, reference=reference))
        torch.testing.assert_close(found, plain(restored, style.expand(2, -1, -1, -1), Degraded(restored)))
    each = images(2, 3, 8, 8, seed=4)
    torch.testing.assert_close(loss(restored, target, Degraded(restored, reference=each)), plain(restored, each, Degraded(restored)))
    with pytest.raises(rk.UserError, match=r"data\.reference=FILE"):
        loss(restored, target, Degraded(restored))


def test_one_reference_is_looked_at_once() -> None:
    features = Maps()
    loss = GramLoss(features=features, layers=LAYERS, against="reference")
    restored, style = images(2, 3, 8, 8, seed=1), images(1, 3, 12, 10, seed=3)
    values = [loss(restored, restored, Degraded(restored, reference=style.clone().expand(2, -1, -1, -1))).item() for _ in range(3)]
    assert features.passes == 4, "three of what was made and one of the style"
    assert values[0] == values[1] == values[2]
    loss(restored, restored, Degraded(restored, reference=1 - style))
    assert features.passes == 6


def test_relative_losses_do_not_depend_on_the_networks_scale() -> None:
    first, second = images(1, 3, 8, 8, seed=1), images(1, 3, 8, 8, seed=2)

    class Louder(Maps):
        def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
            return {name: 30 * maps for name, maps in super().forward(image, layers).items()}

    for kind in (GramLoss, MomentsLoss):
        values = [kind(features=f, layers=LAYERS, relative=True)(first, second, Degraded(first)) for f in (Maps(), Louder())]
        torch.testing.assert_close(*values)


def test_gram_of_half_precision_maps_is_float32() -> None:
    assert gram(torch.ones(1, 2, 3, 3, dtype=torch.bfloat16)).dtype == torch.float32
