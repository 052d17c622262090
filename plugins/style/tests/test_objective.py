"""The objective beside an independent formula; tiles beside the whole; what is computed how often."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from restorekit_style.objective import Objective, Terms, style_targets, tiles_of
from restorekit_style.statistics import STATISTICS
from torch import Tensor, nn

from restorekit.interfaces import Features

LAYERS = ("one", "two")


class Maps(Features):
    """Two layers, the second at half the size, that reach 7 pixels; counts its passes."""

    layers = LAYERS

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.seed, self.passes = "random", 0, 0
        rng = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(4, 3, 3, 3, generator=rng, dtype=torch.float64) / 5, requires_grad=False)
        self.second = nn.Parameter(torch.randn(6, 4, 3, 3, generator=rng, dtype=torch.float64) / 6, requires_grad=False)

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        self.passes += 1
        one = nn.functional.relu(nn.functional.conv2d(image, self.first, padding=1))
        two = torch.tanh(nn.functional.conv2d(nn.functional.avg_pool2d(one, 2), self.second, padding=1))
        return {name: {"one": one, "two": two}[name] for name in layers}


def images(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def terms(statistic: str = "gram", **changes: float) -> Terms:
    weights = {"content": 0.7, "style": 3.0, "tv": 0.4, **changes}
    return Terms(("two",), LAYERS, (0.25, 0.75), STATISTICS[statistic], **weights)


def objective(content: Tensor, style: Tensor, wanted: Terms, *, tile: int = 1024, mask: Tensor | None = None, border: int = 0) -> Objective:
    features = Maps()
    targets = style_targets(features, wanted, [style], [1.0], 1024, 64, border)
    return Objective(features, wanted, content, targets, mask=mask, tile=tile, margin=32, border=border)


def gram(maps: Tensor) -> Tensor:
    return torch.einsum("nihw,njhw->nij", maps, maps) / maps[0].numel()


def test_value_and_gradient_are_those_of_the_formula() -> None:
    content, style, image = images(1, 3, 20, 24, seed=1), images(1, 3, 30, 16, seed=2), images(1, 3, 20, 24, seed=3).requires_grad_()
    found, gradient = objective(content, style, terms()).value_and_gradient(image)
    features = Maps()
    made, kept, wanted = (features(x, LAYERS) for x in (image, content, style))
    parts = {
        "content": 0.7 * ((made["two"] - kept["two"]) ** 2).sum() / (kept["two"] ** 2).sum(),
        "style": 3.0
        * sum(
            w * ((gram(made[layer]) - gram(wanted[layer])) ** 2).sum() / (gram(wanted[layer]) ** 2).sum()
            for layer, w in zip(LAYERS, (0.25, 0.75), strict=True)
        ),
        "tv": 0.4 * ((image.diff(dim=2) ** 2).sum() + (image.diff(dim=3) ** 2).sum()) / image.numel(),
    }
    for name, value in parts.items():
        assert found[name] == pytest.approx(value.item(), rel=1e-5), name
    total = torch.stack(list(parts.values())).sum()
    assert found["total"] == pytest.approx(total.item(), rel=1e-5)
    (expected,) = torch.autograd.grad(total, image)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_are_the_whole(statistic: str, masked: bool) -> None:
    content, style, image = images(1, 3, 200, 168, seed=1), images(1, 3, 60, 64, seed=2), images(1, 3, 200, 168, seed=3)
    mask = torch.zeros(1, 1, 200, 168, dtype=torch.float64)
    mask[..., 40:160, 16:120] = 1
    whole, tiled = (objective(content, style, terms(statistic), tile=tile, mask=mask if masked else None) for tile in (1024, 64))
    assert len(whole.tiles) == 1
    assert len(tiled.tiles) > 4
    first, slope = whole.value_and_gradient(image)
    second, slope_by_tiles = tiled.value_and_gradient(image)
    for name, value in first.items():
        assert second[name] == pytest.approx(value, rel=1e-5), name
    torch.testing.assert_close(slope_by_tiles, slope, rtol=1e-4, atol=1e-8)


def test_every_pixel_counts_for_one_tile() -> None:
    counts = torch.zeros(1, 1, 333, 190)
    for tile in tiles_of((333, 190), 64, 40, None):
        assert tile.counts is not None
        tile.of(counts).add_(tile.counts)
        assert max(tile.counts.shape[-2:]) <= 64 + 2 * 64
    assert torch.equal(counts, torch.ones_like(counts))


def test_one_pass_an_evaluation_and_fixed_images_once() -> None:
    content, style = images(1, 3, 20, 24, seed=1), images(1, 3, 30, 16, seed=2)
    ready = objective(content, style, terms())
    features = ready.features
    assert isinstance(features, Maps)
    assert features.passes == 2, "content and style once each"
    for _ in range(3):
        ready.value_and_gradient(content)
    assert features.passes == 5, "content and style terms share one"


def test_outside_the_mask_there_is_no_gradient_and_the_content_stays() -> None:
    content, style, image = images(1, 3, 40, 48, seed=1), images(1, 3, 30, 16, seed=2), images(1, 3, 40, 48, seed=3)
    mask = torch.zeros(1, 1, 40, 48, dtype=torch.float64)
    mask[..., :20, :24] = 1
    ready = objective(content, style, terms(), mask=mask)
    _, gradient = ready.value_and_gradient(image)
    assert gradient[..., 20:, :].abs().max() == 0
    assert gradient[..., :20, :24].abs().min() >= 0
    assert gradient[..., :20, :24].abs().max() > 0
    made = ready.composed(image)
    assert torch.equal(made[..., 20:, :], content[..., 20:, :])
    assert torch.equal(made[..., :20, :24], image[..., :20, :24])


def test_without_content_weight_the_content_is_not_looked_at() -> None:
    content, style = images(1, 3, 20, 24, seed=1), images(1, 3, 30, 16, seed=2)
    ready = objective(content, style, terms(content=0.0))
    assert ready.features.passes == 1
    found, _ = ready.value_and_gradient(content)
    assert "content" not in found


def test_mixed_styles_are_mixed_statistics() -> None:
    features, wanted = Maps(), terms()
    first, second = images(1, 3, 30, 16, seed=2), images(1, 3, 18, 22, seed=3)
    both = style_targets(features, wanted, [first, second], [0.3, 0.7], 1024, 64, 0)
    for layer in LAYERS:
        expected = 0.3 * gram(features(first, LAYERS)[layer]) + 0.7 * gram(features(second, LAYERS)[layer])
        torch.testing.assert_close(both[layer], expected, rtol=1e-5, atol=1e-8)
