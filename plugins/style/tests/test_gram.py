"""The Gram-matrix loss against the paper's formula, written out in NumPy and float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from restorekit_style.losses import GramLoss, gram
from torch import Tensor, nn

import restorekit as rk
from restorekit.images import Degraded
from restorekit.interfaces import Features


class Maps(Features):
    """Two layers of a tiny smooth network, whose derivatives gradcheck can trust."""

    layers = ("shallow", "deep")

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.seed = "random", 0
        rng = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(4, 3, 3, 3, generator=rng) / 5, requires_grad=False)
        self.second = nn.Parameter(torch.randn(6, 4, 3, 3, generator=rng) / 6, requires_grad=False)

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        shallow = torch.tanh(nn.functional.conv2d(image, self.first, padding=1))
        deep = torch.tanh(nn.functional.conv2d(shallow, self.second, stride=2, padding=1))
        return {name: {"shallow": shallow, "deep": deep}[name] for name in layers}


def images(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distance(loss: GramLoss, restored: Tensor, target: Tensor) -> Tensor:
    return loss(restored, target, Degraded(restored.detach()))


def layer_energy(made: np.ndarray, wanted: np.ndarray) -> float:
    """Equation 4 of Gatys et al. for one image: 1 / (4 N² M²) Σ (G - A)², N maps of M positions."""
    maps, positions = made.shape[0], made.shape[1] * made.shape[2]
    by_pairs = [np.einsum("ihw,jhw->ij", f, f) for f in (made, wanted)]
    return float(((by_pairs[0] - by_pairs[1]) ** 2).sum() / (4 * maps**2 * positions**2))


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 3),
    height=st.integers(3, 12),
    width=st.integers(3, 12),
    shares=st.none() | st.tuples(st.floats(0, 3), st.floats(0.1, 3)),
)
def test_it_is_the_papers_formula(n: int, height: int, width: int, shares: tuple[float, float] | None) -> None:
    features = Maps().double()
    restored, target = images(n, 3, height, width, seed=1), images(n, 3, height, width, seed=2)
    loss = GramLoss(features=features, layers=("shallow", "deep"), layer_weights=shares)
    made, wanted = (features(image, features.layers) for image in (restored, target))
    factors = shares or (0.5, 0.5)
    expected = np.mean(
        [
            sum(f * layer_energy(made[name][i].numpy(), wanted[name][i].numpy()) for name, f in zip(features.layers, factors, strict=True))
            for i in range(n)
        ]
    )
    assert distance(loss, restored, target).item() == pytest.approx(expected, rel=1e-10)


def test_gradients() -> None:
    loss = GramLoss(features=Maps().double(), layers=("shallow", "deep"), layer_weights=(0.3, 2.0))
    restored = images(2, 3, 5, 6, seed=1).requires_grad_()
    target = images(2, 3, 5, 6, seed=2)
    assert torch.autograd.gradcheck(lambda image: distance(loss, image, target), restored)
    assert not any(p.grad is not None for p in loss.parameters())


def test_it_is_zero_at_equality_and_grows_with_the_change_of_texture() -> None:
    loss = GramLoss(features=Maps().double(), layers=("shallow", "deep"))
    target, noise = images(2, 3, 16, 16, seed=1), images(2, 3, 16, 16, seed=2) - 0.5
    values = [distance(loss, target + strength * noise, target).item() for strength in (0.0, 0.1, 0.3, 1.0)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[-1] > 10 * values[1] > 0


def test_it_does_not_see_where_texture_is() -> None:
    """Moving the maps' positions about leaves the Gram matrix alone."""
    maps = images(2, 5, 6, 7, seed=3)
    order = torch.randperm(42, generator=torch.Generator().manual_seed(0))
    moved = maps.flatten(2)[..., order].reshape(maps.shape)
    torch.testing.assert_close(gram(moved), gram(maps))


def test_it_does_not_depend_on_the_size() -> None:
    """The same texture over a larger area has the same Gram matrix, and images of two sizes compare."""
    maps = images(1, 5, 6, 7, seed=3)
    torch.testing.assert_close(gram(maps.tile(1, 1, 3, 2)), gram(maps))
    loss = GramLoss(features=Maps().double(), layers=("shallow",))
    grey, wide = torch.full((1, 3, 40, 40), 0.5).double(), torch.full((1, 3, 40, 60), 0.5).double()
    other = torch.full((1, 3, 40, 40), 0.9).double()
    assert distance(loss, grey, wide) < 0.05 * distance(loss, grey, other)


def test_gram_matrices_are_float32_under_autocast() -> None:
    maps = images(1, 8, 64, 64, seed=1, dtype=torch.float32) * 30
    with torch.autocast("cpu", torch.bfloat16):
        inside = gram(maps)
        narrow = gram(maps.bfloat16())
    assert inside.dtype == narrow.dtype == torch.float32
    assert torch.equal(inside, gram(maps))
    torch.testing.assert_close(narrow, gram(maps), rtol=1e-2, atol=0)
    assert torch.isfinite(gram(torch.full((1, 1, 300, 300), 100.0, dtype=torch.float16))).all(), "overflow"


def test_it_is_the_mean_over_the_batch() -> None:
    loss = GramLoss(features=Maps().double(), layers=("shallow", "deep"))
    restored, target = images(3, 3, 8, 8, seed=1), images(3, 3, 8, 8, seed=2)
    single = [distance(loss, restored[i : i + 1], target[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(distance(loss, restored, target), torch.stack(single).mean())


def test_options() -> None:
    def create(**options: object) -> GramLoss:
        made = rk.registry().create("loss", "style/gram", features=Maps(), **options)
        assert isinstance(made, GramLoss)
        return made

    assert create(layers=["shallow", "deep"]).layer_weights == (0.5, 0.5)
    assert create(layers=["deep"], layer_weights=[2.0]).layer_weights == (2.0,)
    for wrong, message in (
        ({"layers": []}, r"layers: got \[\]; expected"),
        ({"layers": ["deep", "deepest"]}, r"no layer deepest. Did you mean deep\? Layers: shallow, deep"),
        ({"layers": ["deep", "deep"]}, "each may be given once"),
        ({"layers": ["deep"], "layer_weights": [1.0, 2.0]}, "got 2 for 1 layers"),
        ({"layers": ["deep"], "layer_weights": [-1.0]}, "layer_weights"),
        ({"layers": ["deep"], "layer_weights": [0.0]}, "all are 0"),
        ({"layers": ["deep"], "layer_weigths": [1.0]}, "Did you mean layer_weights"),
    ):
        with pytest.raises(rk.UserError, match=message):
            create(**wrong)
