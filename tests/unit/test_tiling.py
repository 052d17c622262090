"""Tiles: exact where a network sees no further than a quarter of the overlap, seamless where it does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import restorekit as rk
import restorekit.errors
from restorekit import memory
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


class Blur(Generator):
    """Local, with a receptive field of five pixels, and counts the pixels it is given."""

    local = True

    def __init__(self, most: int = 1 << 40) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 1, 11, 11) / 121)
        self.most, self.seen = most, []

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        self.seen.append(tuple(x.shape[-2:]))
        if x[0, 0].numel() > self.most:
            raise torch.OutOfMemoryError("none left")
        return F.conv2d(F.pad(x, (5,) * 4, mode="replicate"), self.weight, groups=3)


def model(network: Generator) -> rk.Model:
    return rk.Model(network, rk.recipe({"generator": {"part": "blur"}}))


def test_the_overlap_follows_from_the_measured_receptive_field() -> None:
    image, network = picture(90, 120).float(), Blur()
    tiles = model(network).restore(image, tile=32)
    assert set(network.seen) == {(32, 32)}
    torch.testing.assert_close(tiles, Blur()(image), atol=1e-4, rtol=0)


def test_where_memory_runs_out_tiles_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "room", lambda device, result: float("inf"))
    image, network = picture(150, 200).float(), Blur(most=70 * 70)
    torch.testing.assert_close(model(network).restore(image), Blur()(image), atol=1e-4, rtol=0)
    assert list(dict.fromkeys(network.seen)) == [(150, 200), (100, 100), (50, 50)]
    with pytest.raises(torch.OutOfMemoryError):
        model(Blur(most=100)).restore(image)


def test_a_fault_that_is_not_of_memory_is_not_tried_again() -> None:
    class Broken(Blur):
        def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
            self.seen.append(tuple(x.shape[-2:]))
            raise RuntimeError("shapes do not fit")

    network = Broken()
    with pytest.raises(RuntimeError, match="shapes"):
        model(network).restore(picture(150, 200).float())
    assert len(network.seen) == 1


def test_tiles_follow_from_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    image, network = picture(300, 400).float(), Blur()
    monkeypatch.setattr(memory, "room", lambda device, result: 2 * memory.WORKSPACE * 100**2 * 2 * 3 * 4)
    torch.testing.assert_close(model(network).restore(image), Blur()(image), atol=1e-4, rtol=0)
    tile = max(height for height, _ in network.seen[1:])
    assert 60 <= tile <= 110


def test_the_peak_counts_what_is_alive_at_once() -> None:
    def twice() -> Tensor:
        a = torch.ones(1000)  # 4000 bytes
        a = a + 1  # 8000 at once
        return a.view(10, 100)

    assert memory.peak(twice) == 8000


def test_a_limit_below_what_the_picture_takes_is_an_error() -> None:
    with memory.limited(1 << 20), pytest.raises(rk.errors.UserError, match="--memory: 1 MiB are too few"):
        model(Blur()).restore(picture(30, 30).float())
    assert memory.room(torch.device("cpu"), 0) > 1 << 20
