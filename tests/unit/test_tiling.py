"""Tiles: exact where a network sees no further than a quarter of the overlap, seamless where it does."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import restorekit as rk
import restorekit.errors
from restorekit import memory, tiling
from restorekit.builtin.network import Box
from restorekit.images import LEVELS, SizeRule, floats, pad_reflect, whole_numbers
from restorekit.interfaces import Generator
from restorekit.tiling import _part, bands


def picture(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tiled(restore: Callable[[Tensor], Tensor], image: Tensor, **options: int) -> Tensor:
    made = bands(lambda rows, columns: restore(image[..., rows, columns]), *image.shape[-2:], **options)
    return torch.cat([band.clone() for band in made], 2)


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


def test_a_band_is_given_as_soon_as_no_other_tile_reaches_it() -> None:
    image, starts, ends = picture(100, 30), [], []

    def note(rows: slice, columns: slice) -> Tensor:
        starts.append(rows.start)
        return image[..., rows, columns]

    for band in bands(note, 100, 30, side=32, overlap=8):
        ends.append(sum(ends[-1:]) + band.shape[2])
        torch.testing.assert_close(band, image[..., ends[-1] - band.shape[2] : ends[-1], :])
        assert len(starts) == len(ends)
    assert ends == [*starts[1:], 100]


@pytest.mark.parametrize(("height", "width"), [(50, 33), (17, 40), (7, 40), (64, 5), (6, 7)])
def test_a_part_of_the_padded_image_is_cut_without_padding_the_image(height: int, width: int) -> None:
    image = whole_numbers(picture(height, width), torch.uint8)
    bottom, right = -height % 16, -width % 16
    whole = pad_reflect(floats(image), bottom, right)
    for rows in (slice(top, top + 16) for top in range(0, height, 16)):
        for columns in (slice(left, left + 16) for left in range(0, width, 16)):
            assert torch.equal(_part(image, rows, columns, bottom, right), whole[..., rows, columns])


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


@pytest.mark.parametrize(("height", "width"), [(1, 9), (61, 1), (21, 141), (201, 3)])
def test_the_receptive_field_is_found_in_either_direction(height: int, width: int) -> None:
    def network(x: Tensor) -> Tensor:
        return F.conv2d(x, torch.ones(1, 1, height, width), padding=(height // 2, width // 2))

    assert memory.reach(network, channels=1) == max(height, width) // 2


def test_where_memory_runs_out_tiles_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "room", lambda device, result, least=0: float("inf"))
    image, network = picture(150, 200).float(), Blur(most=70 * 70)
    torch.testing.assert_close(model(network).restore(image), Blur()(image), atol=1e-4, rtol=0)
    assert list(dict.fromkeys(network.seen)) == [(150, 200), (100, 100), (50, 50)]
    with pytest.raises(torch.OutOfMemoryError):
        model(Blur(most=100)).restore(image)


def test_torchs_own_error_is_known_to_be_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert memory.ran_out(caught.value)


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
    room = 2 * 2 * memory.WORKSPACE * 100**2 * 2 * 3 * 4
    monkeypatch.setattr(memory, "room", lambda device, result, least=0: room)
    torch.testing.assert_close(model(network).restore(image), Blur()(image), atol=1e-4, rtol=0)
    tile = max(height for height, _ in network.seen[1:])
    assert 64 <= tile <= 140


def test_what_plainly_fits_is_not_measured_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for room, calls in ((2 * memory.LAVISH * 150 * 200 + 1, 1), (2 * memory.LAVISH * 150 * 200 - 1, 2)):
        monkeypatch.setattr(memory, "room", lambda device, result, least=0, room=room: room)
        network = Blur()
        model(network).restore(picture(150, 200).float())
        assert len(network.seen) == calls
        assert network.seen[-1] == (150, 200)


@pytest.mark.parametrize("dtype", LEVELS)
@pytest.mark.parametrize("network", [Blur, Box, Quarter])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [None, 40])
def test_whole_numbers_give_what_floats_give_rounded(dtype: torch.dtype, network: type[Generator], channels: int, tile: int | None) -> None:
    levels = whole_numbers(picture(101, 67, channels).float(), dtype)
    made = model(network()).restore(levels, tile=tile)
    expected = model(network()).restore(floats(levels), tile=tile)
    assert made.dtype == dtype
    assert torch.equal(made.double(), expected.double().mul(LEVELS[dtype]).round())
    assert made.shape == levels.shape


def test_whole_numbers_that_are_none_are_refused() -> None:
    class Broken(Box):
        def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
            return x * torch.nan

    with pytest.raises(rk.errors.ImageError, match="the result has values that are not finite"):
        model(Broken()).restore(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


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


def test_the_least_that_the_error_names_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    """And smaller tiles than the receptive field allows are not promised."""
    monkeypatch.setattr(memory, "_resident", lambda: 100 << 20)
    image, network = picture(300, 2000).float(), Blur()
    with memory.limited(112 << 20), pytest.raises(rk.errors.UserError, match="112 MiB are too few") as caught:
        model(network).restore(image)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert 112 < least < 150
    with memory.limited(least << 20):
        torch.testing.assert_close(model(network).restore(image), Blur()(image), atol=1e-4, rtol=0)
    assert network.seen[-1][0] <= 80


def test_tiles_that_were_asked_for_are_smaller_only_under_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_resident", lambda: 0)
    monkeypatch.setattr(memory, "_available", lambda: 1000)
    image = picture(400, 400).float()
    for limit, smaller in ((None, False), (1 << 40, False), (24 << 20, True)):
        network = Blur()
        with memory.limited(limit):
            model(network).restore(image, tile=256)
        assert (network.seen[-1][0] < 256) == smaller


def test_on_a_gpu_the_limit_is_about_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5000, 9000))
    gpu = torch.device("cuda")
    assert memory.room(gpu, 100) == memory.SPARE * 5000 - 100
    with memory.limited(1000):
        assert memory.room(gpu, 100) == 600
        with pytest.raises(rk.errors.UserError, match="too few"):
            memory.room(gpu, 700, least=1)


def test_the_memory_of_the_process_is_known_without_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    now = memory._resident()
    monkeypatch.setattr(Path, "read_text", lambda self: (_ for _ in ()).throw(FileNotFoundError()))
    assert 0.5 * now < memory._resident() < 100 * now
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert memory._resident() == memory.UNTOLD
    assert memory._available() is None


def system(root: Path, files: dict[str, str]) -> Path:
    """The files in which Linux tells of memory, under a folder."""
    for name, text in {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8000 << 10),
        ({"proc/self/cgroup": "0::/\n"}, 8000 << 10),
        # a container of version 2, which sees its group as the root, and one of version 1, which has the path of outside
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "5000000\n",
                "sys/fs/cgroup/memory.current": "3000000\n",
                "sys/fs/cgroup/memory.stat": "anon 1000\nfile 900000\ninactive_file 500000\n",
            },
            2500000,
        ),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/docker/x\n4:memory:/docker/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000\n",
                "sys/fs/cgroup/memory/memory.stat": "cache 10\n",
            },
            3000000,
        ),
        # a service without a bound of its own, in a slice that has one and is over it
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.service\n",
                "sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
                "sys/fs/cgroup/a.slice/memory.max": "100\n",
                "sys/fs/cgroup/a.slice/memory.current": "300\n",
                "sys/fs/cgroup/a.slice/memory.stat": "",
            },
            0,
        ),
        ({"proc/self/cgroup": "nonsense\n4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "nonsense\n"}, 8000 << 10),
    ],
)
def test_the_bound_of_a_container_counts(files: dict[str, str], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SYSTEM", system(tmp_path, files))
    assert memory._available() == free


def test_each_tile_is_told() -> None:
    told: list[tuple[int, int]] = []
    with tiling.telling(lambda done, tiles: told.append((done, tiles))):
        model(Blur()).restore(picture(200, 300).float(), tile=100)
        assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
        assert len(told) >= 6
        told.clear()
        model(Blur()).restore(picture(50, 60).float())
    assert told == [(1, 1)]
    model(Blur()).restore(picture(50, 60).float())
    assert told == [(1, 1)]


def test_a_network_that_needs_the_whole_is_not_cut_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_resident", lambda: 0)
    image = picture(400, 400).float()
    whole = Blur()
    whole.local = False
    for network, limit, told in ((whole, 24 << 20, True), (whole, None, False), (Blur(), 24 << 20, False)):
        with memory.limited(limit), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model(network).restore(image)
        assert [tiling.PARTS in str(warning.message) for warning in caught] == [True] * told
