"""Tiles: exact where a network sees no further than a quarter of the overlap, seamless where it does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import restorekit as rk
from restorekit.builtin.network import Box
from restorekit.images import SizeRule
from restorekit.interfaces import Generator
from restorekit.tiling import tiled


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def box(image: Tensor, reach: int) -> Tensor:
    return F.avg_pool2d(F.pad(image, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)


@pytest.mark.parametrize(("height", "width"), [(100, 77), (33, 200), (32, 32), (20, 90), (65, 64)])
@pytest.mark.parametrize("overlap", [16, 17, 31])
def test_a_network_that_sees_a_quarter_of_the_overlap_gives_the_whole(height: int, width: int, overlap: int) -> None:
    image = picture(height, width)
    reach = overlap // 4
    torch.testing.assert_close(tiled(lambda tile: box(tile, reach), image, side=40, overlap=overlap), box(image, reach))


def test_no_tile_is_larger_than_asked_for() -> None:
    seen = []

    def note(tile: Tensor) -> Tensor:
        seen.append(tuple(tile.shape[-2:]))
        return tile

    tiled(note, picture(100, 30), side=32, overlap=8)
    assert set(seen) == {(32, 30)}
    assert len(seen) == 4


def test_tiles_of_a_larger_result_are_laid_where_they_belong() -> None:
    image = picture(70, 50)

    def enlarge(tile: Tensor) -> Tensor:
        return F.interpolate(tile, scale_factor=3, mode="nearest")

    torch.testing.assert_close(tiled(enlarge, image, side=24, overlap=8, scale=3), enlarge(image))


def test_a_network_that_shrinks_its_maps_sees_the_same_grid() -> None:
    image = picture(80, 72)

    def blocks(tile: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(tile, 8), scale_factor=8, mode="nearest")

    torch.testing.assert_close(tiled(blocks, image, side=40, overlap=16 + 16, multiple_of=8), blocks(image))


def test_tiles_that_differ_fade_into_each_other() -> None:
    """Each tile is made another constant: neighbouring pixels differ by one step of the fade at most, not by the whole jump."""
    count = iter(range(10))
    made = tiled(lambda tile: torch.full_like(tile, float(next(count))), torch.zeros(1, 1, 20, 100), side=40, overlap=20)
    assert made.min() == 0
    assert made.max() >= 3
    assert made.diff(dim=3).abs().max() <= 1 / 10


def test_tiles_smaller_than_their_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="make them larger"):
        tiled(box, picture(50, 50), side=16, overlap=16)  # type: ignore[arg-type]


class Quarter(Generator):
    """Averages blocks of four, and refuses sizes that are no multiple of it."""

    size = SizeRule(minimum=8, multiple_of=4)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        assert x.shape[-1] % 4 == x.shape[-2] % 4 == 0
        self.seen.append((x.shape[-2], x.shape[-1]))
        return F.interpolate(F.avg_pool2d(x, 4), scale_factor=4, mode="nearest")


def test_a_model_keeps_its_size_rule_in_tiles() -> None:
    network = Quarter()
    model = rk.Model(network, rk.recipe({"generator": {"part": "quarter"}}))
    image = picture(101, 67).float()
    torch.testing.assert_close(model.restore(image, tile=30), model.restore(image))
    assert network.seen[0] == (32, 32)


def test_the_restorer_of_networks_takes_tiles() -> None:
    image = picture(90, 90).float()
    network = Box()
    from restorekit.images import Degraded

    whole, tiles = (
        rk.registry().create("restorer", "core/network", generator=network, tile=tile).restore(Degraded(image)) for tile in (None, 32)
    )
    torch.testing.assert_close(tiles, whole)


def test_a_grey_network_restores_the_channels_of_a_colour_image() -> None:
    class Grey(Box):
        channels = 1

    model = rk.Model(Grey(), rk.recipe({"generator": {"part": "grey"}}))
    image = picture(20, 30).float()
    torch.testing.assert_close(model.restore(image), box(image, 1))
