"""Camera shake and defocus in linear light, with highlights and with rotation."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import restorekit as rk
from restorekit.builtin.blurs import CameraShake, Defocus, LensBlur
from restorekit.builtin.convolution import convolve
from restorekit.conformance import Case, checks_for
from restorekit.conformance.kit import check_name
from restorekit.conformance.subject import Check, Subject

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("camera-shake", {"length": [3.0, 7.0]}),
    ("defocus", {"radius": [1.0, 3.0]}),
    ("camera-shake", {"length": [3.0, 7.0], "light": "linear"}),
    ("camera-shake", {"length": [3.0, 7.0], "light": "linear", "highlights": [2.0, 8.0], "threshold": 0.9}),
    ("camera-shake", {"length": [3.0, 7.0], "rotation": 6.0}),
    ("camera-shake", {"length": 0.0, "rotation": [0.0, 3.0]}),
    ("camera-shake", {"length": [3.0, 7.0], "rotation": [0.5, 9.0], "light": "linear", "highlights": 5.0}),
    ("defocus", {"radius": [1.0, 3.0], "light": "linear", "highlights": 4.0}),
    ("defocus", {"radius": [6.0, 9.0]}),
]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(size: int = 96) -> torch.Tensor:
    pixels = skimage.data.astronaut()[100 : 100 + size, 160 : 160 + size]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def linear(image: np.ndarray) -> np.ndarray:
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def coded(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


# Every option keeps the contract, margins above all.


def conformance() -> list[Any]:
    found = []
    for name, options in VARIANTS:
        registered = rk.registry().find("degradation", f"core/{name}")
        subject = Subject(replace(registered, part=replace(registered.part, example=options)), rk.registry())
        found += [pytest.param(subject, check, id=f"{name} {options} {check_name(check)}") for check in checks_for("degradation")]
    return found


@pytest.mark.parametrize(("subject", "check"), conformance())
def test_options_conform(subject: Subject, check: Check) -> None:
    Case(subject.name, subject.kind, check_name(check), "", partial(check, subject)).run()


@pytest.mark.parametrize(("name", "options"), [*VARIANTS, ("camera-shake", {"length": [30.0, 40.0]})])
def test_a_patch_cut_with_its_margin_is_the_cut_photograph(name, options):
    part = rk.registry().create("degradation", f"core/{name}", **options)
    whole, cut, margin = torch.rand(2, 3, 180, 220, generator=rng(3)).round(), 20, part.margin
    params = part.sample(2, (3, 180 - 2 * cut, 220 - 2 * cut), rng(4))
    expected = part.apply(whole, params).image[..., cut + margin : -cut - margin, cut + margin : -cut - margin]
    patch = part.apply(whole[..., cut:-cut, cut:-cut], params).image
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(patch[..., margin:-margin, margin:-margin], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["camera-shake", "defocus"])
def test_what_is_off_draws_nothing(name):
    """A new option must not change what a seed gives where it is not used."""
    plain, light = (rk.registry().create("degradation", f"core/{name}", light=light) for light in ("encoded", "linear"))
    first, second = rng(5), rng(5)
    assert torch.equal(plain.sample(3, (3, 9, 9), first)["psf"], light.sample(3, (3, 9, 9), second)["psf"])
    assert torch.equal(first.get_state(), second.get_state())


# Light.


@pytest.mark.parametrize("part", [CameraShake(length=9.0, light="linear"), Defocus(radius=2.5, light="linear")])
def test_light_is_blurred_between_decoding_and_coding(part):
    image = photo(40).repeat(2, 1, 1, 1)
    result = part.apply(image, part.sample(2, (3, 40, 40), rng(1)))
    for i in range(2):
        psf = result.params["psf"][i].double().numpy()
        for c in range(3):
            light = scipy.ndimage.convolve(linear(image[i, c].double().numpy()), psf, mode="mirror")
            np.testing.assert_allclose(result.image[i, c], coded(light), atol=3e-6)


def test_light_of_black_and_white_stripes_is_half_of_white():
    image = (torch.arange(64) % 2).float().expand(1, 1, 64, 64).contiguous()
    part = LinearGauss(light="linear", highlights=1.0, threshold=0.9)
    result = part.apply(image, part.sample(1, (1, 64, 64), rng())).image[..., 20:-20, 20:-20]
    np.testing.assert_allclose(result, coded(np.array(0.5)), atol=1e-3)


class LinearGauss(LensBlur):
    """A wide and even blur."""

    def draw_psf(self, n: int, rng: torch.Generator) -> torch.Tensor:
        line = torch.exp(-((torch.arange(21) - 10.0) ** 2) / 18)
        return ((line[:, None] * line) / line.sum() ** 2).expand(n, -1, -1)


# Highlights.


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.95])
def test_highlights_are_lifted_blurred_and_clipped(threshold):
    part = CameraShake(length=9.0, light="linear", highlights=(2.0, 6.0), threshold=threshold)
    image = (1.3 * photo(40)).clamp(max=1).repeat(2, 1, 1, 1)
    assert float((image == 1).float().mean()) > 0.02
    result = part.apply(image, part.sample(2, (3, 40, 40), rng(1)))
    factors = result.params["highlights"].double().numpy()
    assert len(set(factors)) == 2
    assert ((factors >= 2) & (factors <= 6)).all()
    for i in range(2):
        for c in range(3):
            value = image[i, c].double().numpy()
            light = linear(value) * (1 + (factors[i] - 1) * np.clip((value - threshold) / (1 - threshold), 0, None))
            light = scipy.ndimage.convolve(light, result.params["psf"][i].double().numpy(), mode="mirror")
            np.testing.assert_allclose(result.image[i, c], coded(light), atol=1e-5)


def test_a_lamp_leaves_a_streak_and_the_sharp_image_stays():
    image = torch.full((1, 3, 41, 41), 0.05)
    image[..., 19:22, 19:22] = 1
    kept = image.clone()
    params = CameraShake(length=12.0, light="linear").sample(1, (3, 41, 41), rng(2))
    plain, lit = (
        CameraShake(length=12.0, light="linear", highlights=h).apply(image, {**params, "highlights": torch.tensor([h])}).image
        for h in (1.0, 20.0)
    )
    assert torch.equal(image, kept)
    assert int((lit > 0.99).sum()) > 3 * int((plain > 0.99).sum()) + 20
    assert float(lit.max()) <= 1


def test_highlights_without_blur_change_only_what_is_above_the_threshold():
    image = torch.linspace(0, 1, 256).expand(1, 1, 4, 256).contiguous()
    part = CameraShake(length=0.0, light="linear", highlights=10.0, threshold=0.9)
    result = part.apply(image, part.sample(1, (1, 4, 256), rng())).image
    change = (result - image).abs()
    assert float(change[image <= 0.9].max()) < 1e-6
    assert 0.01 < float(change.max()) <= 0.1


# Rotation.


def corner(height: int, width: int) -> float:
    return float(np.hypot(height - 1, width - 1) / 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 12), st.floats(0.5, 9))
def test_what_is_recorded_of_a_rotation(seed, length, rotation):
    part = CameraShake(length=length, rotation=(rotation / 2, rotation))
    params = part.sample(3, (3, 50, 80), rng(seed))
    motion, angle = params["motion"].double(), params["angle"].double().numpy()
    assert motion.shape == (3, angle.shape[1], *params["psf"].shape[1:])
    np.testing.assert_allclose(motion.sum((1, 2, 3)), 1, atol=1e-6)
    np.testing.assert_allclose(motion.sum(1), params["psf"], atol=1e-6)
    stay = motion.sum((2, 3)).numpy()
    way = np.deg2rad(angle) * corner(50, 80)
    np.testing.assert_allclose((stay * way).sum(1), 0, atol=1e-5)
    assert np.abs(way)[stay > 0].max() <= np.ceil(rotation) + 1e-4
    assert np.sqrt((stay * way**2).sum(1)).max() <= rotation


@pytest.mark.parametrize("size", [(96, 97), (61, 120)])
@pytest.mark.parametrize("seed", range(4))
def test_every_place_stays_registered(size, seed):
    """The centroid of a point of light stays where it is, in the middle and at the corners."""
    height, width = size
    part = CameraShake(length=6.0, rotation=8.0)
    params = part.sample(1, (1, height, width), rng(seed))
    edge = part.margin + 2
    for top, left in itertools.product((edge, height // 2, height - 1 - edge), (edge, width // 3, width - 1 - edge)):
        image = torch.zeros(1, 1, height, width)
        image[..., top, left] = 1
        blurred = part.apply(image, params).image[0, 0].double().numpy()
        assert blurred.sum() == pytest.approx(1, abs=0.02)  # squeezed or stretched by the bilinear turn a little
        # what is centred is what a pixel sees, and a point is seen from elsewhere: a difference of the second order
        assert np.abs(np.subtract(scipy.ndimage.center_of_mass(blurred), (top, left))).max() < 0.06


def test_the_psf_grows_along_the_circle_with_the_distance_from_the_middle():
    part = CameraShake(length=0.0, rotation=10.0)
    params = part.sample(1, (1, 121, 121), rng(1))
    spreads = {}
    for name, (y, x) in {"middle": (60, 60), "right": (60, 105), "half way": (60, 83), "below": (105, 60)}.items():
        image = torch.zeros(1, 1, 121, 121)
        image[..., y, x] = 1
        weight = part.apply(image, params).image[0, 0].double().numpy()
        rows, columns = np.mgrid[:121, :121]
        spreads[name] = np.sqrt([(weight * (rows - y) ** 2).sum(), (weight * (columns - x) ** 2).sum()])
    assert spreads["middle"].max() < 0.01
    assert spreads["right"][0] > 0.8 > 0.2 > spreads["right"][1]
    assert spreads["below"][1] > 0.8 > 0.2 > spreads["below"][0]
    assert 0.3 < spreads["half way"][0] / spreads["right"][0] < 0.7


def test_the_corners_of_any_size_go_as_far():
    part = CameraShake(length=0.0, rotation=10.0)
    small, large = (part.sample(1, (3, *size), rng(6)) for size in ((40, 30), (400, 300)))
    assert torch.equal(small["motion"], large["motion"])
    np.testing.assert_allclose(small["angle"] * corner(40, 30), large["angle"] * corner(400, 300), rtol=1e-5)


def test_no_rotation_drawn_is_plain_shake():
    part = CameraShake(length=7.0, rotation=(0.0, 5.0))
    image = photo(60)
    params = part.sample(1, (3, 60, 60), rng())
    still = torch.zeros_like(params["motion"])
    still[:, part.turns] = params["psf"]
    result = part.apply(image, {**params, "motion": still}).image
    torch.testing.assert_close(result, convolve(image, params["psf"]).clamp(0, 1), atol=1e-5, rtol=0)
