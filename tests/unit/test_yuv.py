"""Frames of video to RGB and back: colour bars, other people's conversion, where chroma lies, and what encoders are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.color
import torch

from restorekit import yuv
from restorekit.errors import ImageError
from restorekit.yuv import BT601, BT709, UNSPECIFIED, Colours, Layout

av = pytest.importorskip("av")

# Of full colour bars in 8 bits, limited range, as in ITU-R BT.601 and BT.709 and every test card since.
BARS = {
    BT601: {(255, 0, 0): (81, 90, 240), (0, 255, 0): (145, 54, 34), (0, 0, 255): (41, 240, 110), (255, 255, 0): (210, 16, 146)},
    BT709: {(255, 0, 0): (63, 102, 240), (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118), (0, 255, 255): (188, 154, 16)},
}
GREYS = {(0, 0, 0): (16, 128, 128), (255, 255, 255): (235, 128, 128)}


def frame(planes: list[Any], name: str, *, matrix: int = BT709, limits: int = yuv.LIMITED) -> Any:
    height, width = planes[0].shape
    made = av.VideoFrame(width, height, name)
    for plane, values in zip(made.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    made.colorspace, made.color_range = matrix, limits
    return made


def values(made: Any) -> list[np.ndarray[Any, Any]]:
    kind = np.uint16 if "le" in made.format.name else np.uint8
    return [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width].astype(int) for p in made.planes]


@pytest.mark.parametrize("matrix", BARS)
def test_colour_bars_are_those_of_the_standard(matrix: int) -> None:
    for rgb, triple in {**BARS[matrix], **GREYS}.items():
        image = torch.tensor(rgb).float().div(255).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        made = yuv.encode(image, Layout("yuv"), Colours(matrix, full=False))
        assert tuple(plane[1, 1] for plane in values(made)) == triple
        made.colorspace, made.color_range = matrix, yuv.LIMITED
        assert (yuv.decode(made) - image).abs().max() < 1.3 / 219  # what rounding to whole numbers leaves


def test_scikit_image_agrees_on_bt601() -> None:
    planes = [np.random.default_rng(0).integers(low, high, (8, 8), np.uint8) for low, high in ((90, 140), (115, 141), (115, 141))]
    theirs = skimage.color.ycbcr2rgb(np.dstack(planes).astype(float))
    ours = yuv.decode(frame(planes, "yuv444p", matrix=BT601))[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("limits", [yuv.LIMITED, yuv.FULL])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
def test_libswscale_agrees_within_its_rounding(matrix: int, limits: int) -> None:
    planes = [np.full((16, 16), value, np.uint8) for value in (120, 100, 160)]
    made = frame(planes, "yuv444p", matrix=matrix, limits=limits)
    theirs = made.reformat(format="rgb24").to_ndarray()[8, 8] / 255
    assert np.abs(yuv.decode(made)[0, :, 8, 8].numpy() - theirs).max() < 2 / 255


def test_what_names_no_matrix_is_taken_for_that_of_its_size() -> None:
    small, large = (Colours(UNSPECIFIED, full=False).weights(lines) for lines in (576, 720))
    assert (small, large) == (yuv.WEIGHTS[BT601], yuv.WEIGHTS[BT709])
    with pytest.raises(ImageError, match="colour matrix 14"):
        Colours(14, full=False).weights(100)


@pytest.mark.parametrize("layout", [Layout("yuv"), Layout("yuv", 10), Layout("yuv", 12, 2, 1), Layout("yuv", 8, 2, 2)])
@pytest.mark.parametrize("full", [False, True])
def test_there_and_back(layout: Layout, full: bool) -> None:
    y, x = np.mgrid[0:37, 0:51]
    smooth = torch.from_numpy(np.stack([0.3 + x / 200, 0.4 + y / 200, 0.6 - x / 300 - y / 300]).astype(np.float32))[None]
    image = smooth
    made = yuv.encode(image, layout, Colours(BT709, full))
    made.colorspace, made.color_range = BT709, yuv.FULL if full else yuv.LIMITED
    back = yuv.decode(made)
    assert back.shape == image.shape
    step = 1 / (219 << (layout.bits - 8))
    inner = (..., slice(2, -2), slice(2, -2))  # chroma at the border is that of the pixel beside it
    assert (back - image)[inner].abs().max() < 2 * step
    assert (back - image).abs().max() < 2 * step + (0.01 if layout.columns > 1 else 0)
    again = yuv.encode(back, layout, Colours(BT709, full))
    for first, second in zip(values(made), values(again), strict=True):
        assert np.abs(first - second)[:, 2:-2].max() <= 1


def test_chroma_lies_on_the_left_and_between_rows() -> None:
    """Samples of a ramp taken where MPEG-2 and H.264 take them give the ramp back, of an odd size too."""
    luma = np.full((9, 13), 512, np.uint16)
    across, down = 2 * np.arange(7) * 8, (2 * np.arange(5) + 0.5) * 8
    blue = (400 + np.tile(across, (5, 1))).round().astype(np.uint16)
    red = (400 + np.tile(down[:, None], (1, 7))).round().astype(np.uint16)
    made = frame([luma, blue, red], "yuv420p10le", limits=yuv.FULL)
    r, _, b = yuv.decode(made)[0]
    of_red, of_blue = yuv.WEIGHTS[BT709]
    blue_back = (b - 512 / 1023) * 1023 / (2 * (1 - of_blue)) + 512
    red_back = (r - 512 / 1023) * 1023 / (2 * (1 - of_red)) + 512
    assert (blue_back[0] - (400 + 8 * torch.arange(13))).abs().max() < 1e-2
    assert (red_back[1:8, 0] - (400 + 8 * torch.arange(1, 8))).abs().max() < 1e-2


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("yuv420p", "yuv420p"),
        ("yuvj422p", "yuv422p"),
        ("yuv444p12le", "yuv444p12le"),
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuyv422", "yuv422p"),
        ("yuva420p", "yuv420p"),
        ("gray16be", "gray16le"),
        ("monow", "gray"),
        ("pal8", "gbrp"),
        ("bgra", "gbrp"),
        ("rgb48le", "gbrp16le"),
    ],
)
def test_layouts_of_the_same_depth_and_chroma(name: str, layout: str) -> None:
    assert yuv.layout(av.VideoFormat(name, 16, 16)).name == layout


@pytest.mark.parametrize("name", ["nv12", "rgb24", "yuyv422", "p010le", "gray10le", "bgra"])
def test_other_orders_in_memory_are_read(name: str) -> None:
    cat = np.ascontiguousarray(np.tile(np.linspace(40, 200, 32, dtype=np.uint8)[None, :, None], (16, 1, 3)))
    made = av.VideoFrame.from_ndarray(cat, "rgb24").reformat(format=name)
    read = yuv.decode(made)
    assert read.shape[1] == (1 if name.startswith("gray") else 3)
    assert (read - torch.from_numpy(cat).permute(2, 0, 1)[: read.shape[1]] / 255).abs().max() < 2 / 255


def test_encoders_get_the_nearest_that_they_take() -> None:
    h264 = [form.name for form in av.Codec("libx264", "w").video_formats]

    def chosen(layout: Layout, height: int = 16, width: int = 16, names: list[str] = h264) -> str:
        return yuv.nearest(layout, names, height=height, width=width, even=True).name

    assert chosen(Layout("yuv", 8, 2, 2)) == "yuv420p"
    assert chosen(Layout("yuv", 10, 2, 1)) == "yuv422p10le"
    assert chosen(Layout("yuv", 12, 2, 2)) == "yuv420p10le"
    assert chosen(Layout("yuv", 8, 4, 1)) == "yuv422p"
    assert chosen(Layout("yuv", 8, 2, 2), height=15) == "yuv422p"
    assert chosen(Layout("yuv", 8, 2, 2), height=15, width=15) == "yuv444p"
    assert chosen(Layout("yuv", 8, 1, 1), names=["yuv420p"]) == "yuv420p"
    with pytest.raises(ImageError, match="15×15"):
        chosen(Layout("yuv"), 15, 15, ["yuv420p"])
