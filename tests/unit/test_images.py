"""Tensors at public boundaries: what is an image, what sizes are legal, what a method may see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from restorekit.errors import ImageError
from restorekit.images import LEVELS, Degraded, SizeRule, check_image, floats, pad_reflect, whole_numbers


@given(minimum=st.integers(1, 70), multiple=st.integers(1, 32), height=st.integers(1, 300), width=st.integers(1, 300))
def test_padding_reaches_the_next_multiple_and_no_further(minimum: int, multiple: int, height: int, width: int) -> None:
    rule = SizeRule(minimum=minimum, multiple_of=multiple)
    if min(height, width) < minimum:
        with pytest.raises(ImageError, match=f"image is {width}×{height}; this network needs at least {minimum}×{minimum} pixels"):
            rule.padding(height, width)
        return
    bottom, right = rule.padding(height, width)
    assert (height + bottom) % multiple == (width + right) % multiple == 0
    assert 0 <= bottom < multiple
    assert 0 <= right < multiple


def test_a_fixed_size_is_the_only_one() -> None:
    rule = SizeRule(fixed=(64, 32))
    assert rule.padding(64, 32) == (0, 0)
    with pytest.raises(ImageError, match="image is 64×32; this network takes exactly 32×64"):
        rule.padding(32, 64)


@given(height=st.integers(1, 9), width=st.integers(1, 9), bottom=st.integers(0, 12), right=st.integers(0, 12))
def test_pad_reflect_is_numpys(height: int, width: int, bottom: int, right: int) -> None:
    image = torch.arange(2.0 * height * width).reshape(1, 2, height, width)
    mode = "reflect" if bottom < height and right < width else "edge"
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (0, bottom), (0, right)), mode=mode)
    assert np.array_equal(pad_reflect(image, bottom, right).numpy(), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 4, 4), r"photo: expected a tensor \(N, C, H, W\), got \(3, 4, 4\)"),
        (torch.zeros(1, 3, 0, 4), r"got \(1, 3, 0, 4\)"),
        (np.zeros((1, 3, 4, 4)), "got ndarray"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), r"expected floats in \[0, 1\], got torch.uint8; divide by 255 first"),
        (torch.full((1, 3, 4, 4), 255.0), r"values reach from 255 to 255; expected \[0, 1\]"),
        (torch.full((1, 3, 4, 4), -0.5), "values reach from -0.5 to -0.5"),
        (torch.full((1, 3, 4, 4), torch.nan), "values reach from nan to nan"),
        (torch.tensor([0.5, torch.nan, 0.5, 0.5]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2), "nan"),
        (torch.full((1, 3, 4, 4), torch.inf), "values reach from inf to inf"),
        (torch.zeros(1, 1, 4, 4), "expected 3 channels, got 1"),
    ],
)
def test_what_is_no_image_says_why(image: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        check_image(image, channels=3, what="photo")  # type: ignore[arg-type]


def test_rounding_beyond_the_range_is_forgiven() -> None:
    check_image(torch.tensor([-5e-5, 1 + 5e-5]).reshape(1, 1, 1, 2))
    check_image(torch.zeros(2, 5, 1, 1, dtype=torch.float64))


WHOLE = Degraded(
    torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4), {"psf": torch.ones(2, 3, 3), "sigma": torch.ones(2)}, torch.ones(2, 3, 4, 4)
)


def test_only_removes_what_is_not_named() -> None:
    blind = WHOLE.only([])
    assert (blind.mask, blind.reference, dict(blind.params)) == (None, None, {})
    assert blind.image is WHOLE.image
    some = WHOLE.only({"mask", "psf"})
    assert some.mask is WHOLE.mask
    assert set(some.params) == {"psf"}
    assert some.reference is None
    assert set(WHOLE.params) == {"psf", "sigma"}


def test_need_gives_what_is_there() -> None:
    assert WHOLE.need("mask") is WHOLE.mask
    assert WHOLE.need("psf") is WHOLE.params["psf"]
    assert WHOLE.need("reference") is WHOLE.reference


@pytest.mark.parametrize(
    ("name", "hint"), [("psf", "--psf FILE"), ("mask", "--mask FILE"), ("reference", "--reference FILE"), ("sigma", "params")]
)
def test_need_says_how_to_give_what_is_absent(name: str, hint: str) -> None:
    with pytest.raises(ImageError, match=f"this method needs the {name}: .*{hint}"):
        WHOLE.only([]).need(name)


def test_to_moves_everything() -> None:
    moved = WHOLE.to("meta")
    assert {t.device.type for t in (moved.image, moved.mask, moved.reference, *moved.params.values())} == {"meta"}  # type: ignore[union-attr]
    assert WHOLE.only([]).to("meta").mask is None


@pytest.mark.parametrize(("dtype", "counted"), [(torch.uint8, np.uint8), (torch.uint16, np.uint16)])
def test_whole_numbers_and_floats_are_numpys_both_ways(dtype: torch.dtype, counted: type) -> None:
    top = LEVELS[dtype]
    levels = np.arange(top + 1).astype(counted).reshape(1, 1, 16, -1)
    made = floats(torch.from_numpy(levels))
    assert np.array_equal(made.numpy(), levels.astype(np.float32) / np.float32(top))
    assert np.array_equal(whole_numbers(made, dtype).numpy(), levels)
    values = torch.rand(2, 3, 300, 20, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    before = values.double()
    assert np.array_equal(whole_numbers(before, dtype).numpy(), (values.double().clamp(0, 1) * top).round().numpy())
    assert torch.equal(before, values.double()), "not changed in place"


def test_sixteen_bits_become_eight_as_if_never_rounded() -> None:
    """65535 is 257 times 255, so that rounding in between moves nothing over a border."""
    values = torch.rand(1, 1, 1000, 1000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(whole_numbers(whole_numbers(values, torch.uint16), torch.uint8), whole_numbers(values, torch.uint8))
