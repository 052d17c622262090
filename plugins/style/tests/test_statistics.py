"""Statistics, content and total variation against formulas written out in NumPy and float64, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from restorekit_style.objective import total_variation
from restorekit_style.statistics import STATISTICS, Statistic, relative
from torch import Tensor


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_hand(name: str, maps: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The statistic of one image's maps (C, H, W)."""
    flat = maps.reshape(len(maps), -1)
    w = np.ones(flat.shape[1]) if weight is None else weight.reshape(-1)
    if name == "gram":
        return np.einsum("p,ip,jp->ij", w, flat, flat) / (len(flat) * w.sum())
    mean = (w * flat).sum(1) / w.sum()
    return np.stack([mean, np.sqrt((w * (flat - mean[:, None]) ** 2).sum(1) / w.sum())])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_statistics_are_their_formulas(name: str, weighted: bool, order: torch.memory_format) -> None:
    maps = random(2, 5, 9, 7).contiguous(memory_format=order)
    weight = random(1, 1, 9, 7, seed=1) if weighted else None
    found = STATISTICS[name].of(maps, weight)
    for i in range(2):
        expected = by_hand(name, maps[i].double().numpy(), None if weight is None else weight[0, 0].double().numpy())
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_gradients_of_statistics(statistic: Statistic, weighted: bool) -> None:
    maps = random(2, 4, 5, 3, dtype=torch.float64).requires_grad_()
    weight = random(1, 1, 5, 3, seed=1, dtype=torch.float64) if weighted else None
    assert torch.autograd.gradcheck(lambda x: statistic.of(x, weight), maps)


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_sums_of_parts_make_the_statistic_of_the_whole(statistic: Statistic) -> None:
    maps = random(1, 4, 8, 6, dtype=torch.float64)
    parts = [statistic.sums(part) for part in (maps[..., :3, :], maps[..., 3:, :])]
    torch.testing.assert_close(statistic.finish(parts[0] + parts[1], 48.0), statistic.of(maps))


def test_the_relative_distance_is_one_from_nothing_and_free_of_scale() -> None:
    wanted = random(2, 3, 3, seed=2)
    assert relative(torch.zeros_like(wanted), wanted).item() == pytest.approx(1, rel=1e-6)
    made = random(2, 3, 3, seed=3)
    assert relative(50 * made, 50 * wanted).item() == pytest.approx(relative(made, wanted).item(), rel=1e-5)
    assert relative(wanted, wanted).item() == 0


def test_total_variation_is_its_formula() -> None:
    image = random(2, 3, 6, 5)
    x = image.double().numpy()
    expected = ((x[..., 1:, :] - x[..., :-1, :]) ** 2).sum() + ((x[..., 1:] - x[..., :-1]) ** 2).sum()
    assert total_variation(image).item() == pytest.approx(expected / x.size, rel=1e-5)
    assert torch.autograd.gradcheck(total_variation, random(1, 2, 4, 3, dtype=torch.float64).requires_grad_())
