"""Labelled before/after pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restorekit.comparison import FRAME, GAP, INK, PAPER, Panel, busiest, compare


def flat(colour: tuple[int, int, int], size: tuple[int, int] = (200, 120)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_the_panels_stand_side_by_side_in_order() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    sheet = np.asarray(compare([Panel("a", flat(c)) for c in colours], crop=(10, 10, 40, 40)))
    for index, colour in enumerate(colours):
        column = sheet[:, GAP + index * (200 + GAP) : GAP + index * (200 + GAP) + 200]
        assert (column == colour).all(-1).sum() > 0.5 * column.shape[0] * column.shape[1]
        for other in colours:
            assert other == colour or not (column == other).all(-1).any()


def test_the_full_picture_is_shown_pixel_for_pixel_where_it_fits() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8))
    sheet = np.asarray(compare([Panel("a", noise)], crop=(0, 0, 1, 1)))
    rows = [y for y in range(sheet.shape[0] - 119) if (sheet[y : y + 120, GAP + 5 : GAP + 200] == np.asarray(noise)[:, 5:]).all()]
    assert len(rows) == 1


def test_the_detail_is_cut_from_full_resolution() -> None:
    """One marked pixel of a large photograph vanishes in the reduced panel and fills the enlarged detail."""
    pixels = np.zeros((1000, 2000, 3), np.uint8)
    pixels[500:502, 900:902] = (0, 255, 255)
    sheet = np.asarray(compare([Panel("a", Image.fromarray(pixels))], crop=(900, 500, 902, 502), widest=400))
    assert (sheet == (0, 255, 255)).all(-1).sum() > 0.9 * 380 * 380


def test_the_frame_marks_the_detail() -> None:
    sheet = np.asarray(compare([Panel("", flat((0, 0, 0)))], crop=(50, 30, 110, 66)))
    rows, columns = np.nonzero((sheet[: sheet.shape[0] // 2] == FRAME).all(-1))
    assert (columns.min() - GAP, columns.max() - GAP + 1) == (50, 110)
    assert rows.max() - rows.min() + 1 == 36


def test_labels_are_drawn_above_their_panels() -> None:
    sheet = np.asarray(compare([Panel("", flat((200, 0, 0))), Panel("restored 31.4 dB", flat((200, 0, 0)))], crop=(0, 0, 20, 20)))
    dark = (sheet.astype(int).sum(-1) < sum(INK) + 120) & (np.ptp(sheet.astype(int), axis=-1) < 20)
    rows, columns = np.nonzero(dark)
    assert columns.min() >= 200 + 2 * GAP
    first_red = np.nonzero((sheet == (200, 0, 0)).all(-1))[0].min()
    assert rows.max() < first_red


def test_a_long_label_stays_inside_its_panel() -> None:
    panels = [
        Panel("restored with a method of a very long name, 31.4 dB", flat((200, 0, 0), (300, 100))),
        Panel("", flat((0, 0, 0), (300, 100))),
    ]
    sheet = np.asarray(compare(panels, crop=(0, 0, 20, 20)))
    gap = sheet[:, GAP + 300 : 2 * GAP + 300]
    assert (gap == PAPER).all()


def test_grey_and_transparent_pictures_are_shown_too() -> None:
    sheet = compare([Panel("grey", Image.new("L", (60, 40), 90)), Panel("clear", Image.new("RGBA", (60, 40), (9, 9, 9, 0)))])
    assert sheet.mode == "RGB"


@pytest.mark.parametrize("sizes", [[], [(40, 30), (30, 40)]])
def test_pictures_of_different_sizes_are_refused(sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="expected panels of one size"):
        compare([Panel("a", flat((0, 0, 0), size)) for size in sizes])


@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_busiest_part_lies_inside_any_picture(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    left, top, right, bottom = busiest(Image.fromarray(pixels))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == max(1, round(0.3 * width))


def test_the_busiest_part_is_where_the_structure_is() -> None:
    pixels = np.full((200, 300), 128, np.uint8)
    pixels[100:160, 180:270] = np.random.default_rng(0).integers(0, 256, (60, 90), dtype=np.uint8)
    left, top, right, bottom = busiest(Image.fromarray(pixels))
    assert abs(left - 180) <= 3
    assert abs(top - 100) <= 3
    assert (right - left, bottom - top) == (90, 60)
