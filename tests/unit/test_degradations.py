"""Core's degradations: what all of them promise, asked from the registry, and each against an outside reference."""

from __future__ import annotations

import kornia.enhance
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.stats
import skimage.data
import skimage.registration
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import restorekit as rk
from restorekit.builtin.blurs import CameraShake, Defocus, GaussianBlur, MotionBlur
from restorekit.builtin.degradations import Downscale, GaussianNoise, Jpeg
from restorekit.builtin.masks import Mask
from restorekit.builtin.sequences import RandomOrder, Sequence, Sometimes
from restorekit.conformance.subject import Subject
from restorekit.errors import ConfigError, ImageError
from restorekit.interfaces import Degradation

PARTS = {part.part.name: part for part in rk.registry().of_kind("degradation") if part.namespace == "core"}
SHAPES = ("centre", "boxes", "strokes", "pixels")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example(name: str) -> Degradation:
    part: Degradation = Subject(PARTS[name], rk.registry()).make()
    return part


def photo(size: int = 96) -> torch.Tensor:
    pixels = skimage.data.astronaut()[100 : 100 + size, 160 : 160 + size]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


# What every part promises.


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (5, 4), (17, 30), (33, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_is_degraded_within_range(name, height, width, channels):
    part = example(name)
    image = torch.rand(2, channels, height, width, generator=rng(1))
    kept = image.clone()
    params = part.sample(2, (channels, height, width), rng())
    result = part.apply(image, params)
    assert result.image.shape == (2, channels, -(-height // part.scale), -(-width // part.scale))
    assert float(result.image.min()) >= 0
    assert float(result.image.max()) <= 1
    assert torch.equal(image, kept)
    assert set(params) == set(result.params) == set(part.params)
    assert all(len(value) == 2 and value.device.type == "cpu" for value in params.values())
    if result.mask is not None:
        assert result.mask.shape == (2, 1, *result.image.shape[2:])
        assert set(result.mask.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", PARTS)
def test_one_seed_gives_one_result_and_leaves_the_global_state(name):
    part = example(name)
    before = torch.random.get_rng_state()
    np_before = np.random.get_state()[1].copy()  # noqa: NPY002
    once, again, other = (part.sample(3, (3, 24, 20), rng(seed)) for seed in (5, 5, 6))
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert not once or any(not torch.equal(once[key], other[key]) for key in once)
    images = torch.rand(3, 3, 24, 20, generator=rng(2))
    assert torch.equal(part.apply(images, once).image, part.apply(images, again).image)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], np_before)  # noqa: NPY002


@pytest.mark.parametrize("name", PARTS)
def test_each_image_gets_its_own_parameters_whatever_the_batch(name):
    part = example(name)
    images = photo(40).expand(4, -1, -1, -1).contiguous()
    params = part.sample(4, (3, 40, 40), rng(3))
    together = part.apply(images, params).image
    for i in range(4):
        alone = part.apply(images[i : i + 1], {key: value[i : i + 1] for key, value in params.items()}).image
        torch.testing.assert_close(alone[0], together[i], atol=2e-6, rtol=0)
    if any(len(value.unique(dim=0)) > 1 for value in params.values()):
        assert len(together.unique(dim=0)) > 1


@pytest.mark.parametrize("name", [name for name in PARTS if example(name).margin])
def test_beyond_the_margin_nothing_outside_the_image_matters(name):
    part = example(name)
    params = part.sample(1, (3, 64, 64), rng(4))
    for name in params:
        if name.rpartition(".")[2] == "sigma":  # of noise, which would be other noise in the patch
            params[name] = torch.zeros(1)
        elif name == "choice":
            params[name] = torch.zeros(1, dtype=torch.long)
    whole, cut = photo(64), 16
    margin = part.margin
    inner = {key: value[..., cut:-cut, cut:-cut] if key.rpartition(".")[2] == "noise" else value for key, value in params.items()}
    from_whole = part.apply(whole, params).image
    from_patch = part.apply(whole[..., cut:-cut, cut:-cut], inner).image
    start, side = cut // part.scale, 32 // part.scale
    expected = from_whole[..., start + margin : start + side - margin, start + margin : start + side - margin]
    assert expected.numel() > 0
    torch.testing.assert_close(from_patch[..., margin:-margin, margin:-margin], expected, atol=2e-6, rtol=0)
    assert not torch.allclose(from_patch, from_whole[..., start : start + side, start : start + side], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("camera-shake", {"length": [9.0, 3.0]}, "length"),
        ("camera-shake", {"length": -1.0}, "length"),
        ("camera-shake", {"length": [5.0, 1000.0]}, "length"),
        ("motion-blur", {"angle": [90.0, 0.0]}, "angle"),
        ("gaussian-blur", {"sigma": -0.1}, "sigma"),
        ("gaussian-noise", {"sigma": [0.2, 0.1]}, "sigma"),
        ("jpeg", {"quality": 0}, "quality"),
        ("jpeg", {"quality": [80, 20]}, "quality"),
        ("downscale", {"factor": 0}, "factor"),
        ("mask", {"share": 1.0}, "share"),
        ("mask", {"shape": "center"}, "shape"),
        ("mask", {"fill": 2.0}, "fill"),
        ("sequence", {"steps": []}, "steps"),
        ("random-order", {"steps": []}, "steps"),
        ("random-order", {"steps": ["core/jpeg", "core/downscale"]}, r"steps\.1"),
        ("sometimes", {"degradation": "core/downscale"}, "size by 2"),
        ("sometimes", {"degradation": "core/jpeg", "probability": 1.5}, "probability"),
        ("camera-shake", {"highlights": 3.0}, "light: linear"),
        ("camera-shake", {"light": "linear", "highlights": 0.5}, "highlights"),
        ("camera-shake", {"light": "srgb"}, r"encoded \| linear"),
        ("camera-shake", {"rotation": [4.0, 2.0]}, "rotation"),
        ("camera-shake", {"threshold": 1.0}, "threshold"),
        ("defocus", {"radius": -1.0}, "radius"),
        ("poisson-noise", {"photons": 0.0}, "photons"),
        ("poisson-noise", {"light": "raw"}, "light"),
        ("saturation", {"stops": [2.0, 1.0]}, "stops"),
    ],
)
def test_bad_options_are_refused_by_name(name, options, word):
    with pytest.raises(ConfigError, match=word):
        rk.registry().create("degradation", f"core/{name}", **options)


def test_whole_numbers_will_do_for_ranges():
    part = rk.registry().create("degradation", "core/camera-shake", length=[5, 22])
    assert isinstance(part, CameraShake)
    assert part.length == (5, 22)


# Blurs.


LONG = CameraShake(length=45.0, curvature=0.1, jerk=0.0)


@pytest.mark.parametrize("part", [CameraShake(length=(4.0, 9.0)), LONG, GaussianBlur(sigma=1.2), Defocus(radius=(1.0, 9.0))])
def test_blur_is_true_convolution_with_the_recorded_psf(part):
    images = photo(80).repeat(3, 1, 1, 1)
    params = part.sample(3, (3, 80, 80), rng(6))
    result = part.apply(images, params)
    for i in range(3):
        psf = result.params["psf"][i].double().numpy()
        for c in range(3):
            expected = scipy.ndimage.convolve(images[i, c].double().numpy(), psf, mode="mirror")
            np.testing.assert_allclose(result.image[i, c], expected, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.floats(0, 40))
def test_a_constant_image_stays_constant(seed, value, length):
    for part in (CameraShake(length=length), MotionBlur(length=length), GaussianBlur(sigma=length / 10), Defocus(radius=length / 4)):
        params = part.sample(2, (3, 32, 40), rng(seed))
        # In single precision the sum of 169 equal weights, those of a defocus, is off by 1.3e-6.
        for dtype, atol in ((torch.float64, 1e-6), (torch.float32, 5e-6)):
            result = part.apply(torch.full((2, 3, 32, 40), value, dtype=dtype), params).image
            np.testing.assert_allclose(result, value, atol=atol)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 25))
def test_blurred_and_sharp_stay_registered(seed, length):
    """The centroid of a spot far from the borders stays where it is."""
    for part in (CameraShake(length=length), MotionBlur(length=length), GaussianBlur(sigma=length / 10), Defocus(radius=length / 4)):
        image = torch.zeros(1, 1, 81, 81)
        image[..., 38:44, 36:41] = 1
        result = part.apply(image, part.sample(1, (1, 81, 81), rng(seed))).image
        shift = np.subtract(*(scipy.ndimage.center_of_mass(x[0, 0].double().numpy()) for x in (result, image)))
        assert np.abs(shift).max() < 0.01


@pytest.mark.parametrize("part", [MotionBlur(length=8.5, angle=35.0), GaussianBlur(sigma=1.5), Defocus(radius=3.3)])
def test_symmetric_blurs_show_no_shift_on_a_photograph(part):
    image = photo(128) * torch.from_numpy(np.outer(np.hanning(128), np.hanning(128))).float()  # phase correlation takes it as periodic
    result = part.apply(image, part.sample(1, (3, 128, 128), rng())).image
    sharp, blurred = (x[0].mean(0).numpy() for x in (image, result))
    shift, _, _ = skimage.registration.phase_cross_correlation(sharp, blurred, upsample_factor=100, normalization=None)
    assert np.abs(shift).max() < 0.05


@pytest.mark.parametrize("part", [CameraShake(length=0.0), MotionBlur(length=1.0), GaussianBlur(sigma=0.0), Defocus(radius=0.5)])
def test_no_blur_leaves_the_image(part):
    assert torch.equal(part.apply(photo(), part.sample(1, (3, 96, 96), rng())).image, photo())


def test_more_length_blurs_more():
    energies = []
    for length in (0.0, 5.0, 10.0, 20.0):
        part = CameraShake(length=length)
        result = part.apply(photo().repeat(16, 1, 1, 1), part.sample(16, (3, 96, 96), rng(8))).image
        energies.append(float(result.diff(dim=-1).square().mean()))
    assert energies == sorted(energies, reverse=True)


def test_psfs_differ_within_a_batch():
    psf = CameraShake().sample(8, (3, 8, 8), rng())["psf"]
    assert len(psf.unique(dim=0)) == 8


# Noise.


def test_noise_is_the_recorded_field_times_the_level():
    part = GaussianNoise(sigma=(0.02, 0.3))
    image = photo().repeat(2, 1, 1, 1)
    result = part.apply(image, part.sample(2, (3, 96, 96), rng()))
    noise, sigma = result.params["noise"].double().numpy(), result.params["sigma"].double().numpy()
    expected = np.clip(image.double().numpy() + sigma[:, None, None, None] * noise, 0, 1)
    np.testing.assert_allclose(result.image, expected, atol=1e-6)
    assert ((sigma >= 0.02) & (sigma <= 0.3)).all()


def test_noise_is_standard_normal_and_white():
    noise = GaussianNoise(sigma=0.1).sample(2, (3, 64, 64), rng(11))["noise"].double().numpy()
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1]) < 0.03


# JPEG.


LUMINANCE = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 95])
@pytest.mark.parametrize(("height", "width"), [(80, 72), (83, 71)])
def test_grey_jpeg_is_the_standards_formula(quality, height, width):
    """Blocks of 8×8, cosine transform, Annex K.1's table at the Independent JPEG Group's scale, in float64."""
    image = photo()[:, 1:2, :height, :width]
    part = Jpeg(quality=quality)
    result = part.apply(image, part.sample(1, (1, height, width), rng())).image[0, 0].numpy() * 255
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = np.clip((np.array(LUMINANCE.split(), int).reshape(8, 8) * scale + 50) // 100, 1, 255)
    pixels = np.pad(np.round(image[0, 0].double().numpy() * 255), ((0, -height % 8), (0, -width % 8)), mode="edge") - 128
    blocks = pixels.reshape(pixels.shape[0] // 8, 8, pixels.shape[1] // 8, 8)
    waves = scipy.fft.dctn(blocks, axes=(1, 3), norm="ortho") / table[:, None]
    waves = np.sign(waves) * np.floor(np.abs(waves) + 0.5 + 1e-9) * table[:, None]  # halves away from zero, as libjpeg
    expected = np.clip(np.round(scipy.fft.idctn(waves, axes=(1, 3), norm="ortho")) + 128, 0, 255).reshape(pixels.shape)[:height, :width]
    # libjpeg computes in integers: a coefficient halfway between two steps may go the other way
    assert np.mean(np.abs(result - expected) > 1) < 0.04


@pytest.mark.parametrize("quality", [10, 50, 75])
def test_colour_jpeg_is_close_to_kornias(quality):
    """Kornia's codec differs in how it resamples the chroma, far less than either differs from the photograph."""
    part = Jpeg(quality=quality)
    result = part.apply(photo(), part.sample(1, (3, 96, 96), rng())).image
    expected = kornia.enhance.jpeg_codec_differentiable(photo(), torch.tensor([float(quality)]))
    assert float((result - expected).abs().mean()) < 0.4 * float((result - photo()).abs().mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_spreads_as_far_as_it_says(channels):
    """Of two pictures that differ from a line on, the results differ up to so many pixels before it, wherever the line is."""
    part, params = Jpeg(quality=40), {"quality": torch.tensor([40])}
    image = photo(80)[:, :channels]
    before = part.apply(image, params).image
    reach = []
    for line in range(33, 66):
        other = image.clone()
        other[..., line:] = 1 - other[..., line:]
        changed = (part.apply(other, params).image != before).any(0).any(0).any(0)
        reach.append(line - int(changed.byte().argmax()))
    assert max(reach) == (part.spread if channels == 3 else 7)


def test_no_border_is_invented_where_a_blurred_patch_is_compressed():
    part = Sequence(steps=(CameraShake(length=6.0), Jpeg(quality=40)))
    params = part.sample(1, (3, 128, 128), rng(4))
    whole, cut, edge = photo(128), 16, part.margin  # cut at a multiple of the blocks
    assert edge == 6 + Jpeg.spread
    from_whole = part.apply(whole, params).image[..., cut:-cut, cut:-cut]
    from_patch = part.apply(whole[..., cut:-cut, cut:-cut], params).image
    different = (from_whole - from_patch).abs().amax((0, 1)) > 2 / 255
    assert not different[edge:-edge, edge:-edge].any()
    assert different[6:-6, 6:-6].any()


def test_what_spreads_widens_the_margins_that_come_before_it():
    blur, jpeg = GaussianBlur(sigma=1.0), Jpeg()
    assert (jpeg.margin, jpeg.spread) == (0, 16)
    for steps, margin, spread in (
        ((jpeg, blur), 4, 16),
        ((blur, jpeg, jpeg), 4 + 32, 0),
        ((blur, Sequence(steps=(jpeg, blur))), 4 + 16 + 4, 0),
        ((blur, Sequence(steps=(blur, jpeg))), 4 + 4 + 16, 0),
        ((jpeg, Downscale(factor=2)), 2, 8),
        ((jpeg, Sometimes(degradation=jpeg)), 0, 32),
        ((RandomOrder(steps=(jpeg, blur)),), 4 + 16, 0),
        ((RandomOrder(steps=(jpeg, jpeg)), GaussianNoise()), 0, 32),
    ):
        part = Sequence(steps=steps)
        assert (part.margin, part.spread) == (margin, spread)


def test_jpeg_gets_better_with_quality_and_takes_grey():
    image = photo().mean(1, keepdim=True)
    errors = []
    for quality in (5, 20, 50, 90):
        part = Jpeg(quality=quality)
        errors.append(float((part.apply(image, part.sample(1, (1, 96, 96), rng())).image - image).square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_jpeg_qualities_reach_both_bounds():
    drawn = Jpeg(quality=(30, 33)).sample(200, (3, 8, 8), rng())["quality"]
    assert set(drawn.tolist()) == {30, 31, 32, 33}


def test_jpeg_refuses_other_channels():
    part = Jpeg()
    with pytest.raises(ImageError, match="2 channels"):
        part.apply(torch.rand(1, 2, 8, 8), part.sample(1, (2, 8, 8), rng()))


# Down-scaling.


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_downscale_is_pillows_bicubic(factor):
    image = photo(96)
    part = Downscale(factor=factor)
    result = part.apply(image, part.sample(1, (3, 96, 96), rng())).image[0]
    for c in range(3):
        expected = Image.fromarray(image[0, c].numpy()).resize((96 // factor, 96 // factor), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(result[c], np.clip(expected, 0, 1), atol=1e-5)


def test_downscale_keeps_registered_where_the_size_is_no_multiple():
    ramp = torch.linspace(0, 1, 41).expand(1, 1, 41, 41).contiguous()
    part = Downscale(factor=3)
    result = part.apply(ramp, {}).image
    assert result.shape == (1, 1, 14, 14)
    np.testing.assert_allclose(result[0, 0, 5, 3:10], (3 * np.arange(3, 10) + 1) / 40, atol=1e-6)


# Masks.


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHAPES), st.floats(0, 0.99), st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_the_share_of_missing_pixels_is_met(shape, share, height, width, seed):
    mask = Mask(shape=shape, share=share).sample(2, (3, height, width), rng(seed))["mask"]
    asked = share * height * width
    # a hole is whole rows and columns: half a column of it, and half a pixel of rounding
    slack = 0.51 + (height / 2 if shape == "centre" else 0)
    assert all(abs(float(one.sum()) - asked) <= slack for one in mask)


def test_shares_are_drawn_from_the_range():
    shares = Mask(shape="pixels", share=(0.2, 0.6)).sample(100, (3, 20, 20), rng())["mask"].mean((1, 2, 3))
    assert float(shares.min()) < 0.25
    assert float(shares.max()) > 0.55
    assert ((shares >= 0.199) & (shares <= 0.601)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_missing_pixels_get_the_fill_value_and_the_others_stay(shape):
    part = Mask(shape=shape, share=0.3, fill=0.5)
    result = part.apply(photo(), part.sample(1, (3, 96, 96), rng()))
    gone = result.need("mask").expand(-1, 3, -1, -1) > 0
    assert (result.image[gone] == 0.5).all()
    assert torch.equal(result.image[~gone], photo()[~gone])


@pytest.mark.parametrize(("height", "width"), [(40, 60), (61, 33), (10, 90)])
def test_a_centre_hole_is_a_rectangle_in_the_middle(height, width):
    mask = Mask(shape="centre", share=0.25).sample(1, (3, height, width), rng())["mask"][0, 0].numpy()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert (rows[0] + rows[-1]) / 2 == pytest.approx((height - 1) / 2, abs=0.5)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx((width - 1) / 2, abs=0.5)
    assert len(rows) / height == pytest.approx(len(columns) / width, abs=0.1)


def corners(mask: np.ndarray) -> int:
    """Corners of the outline: windows of 2×2 with an odd number of missing pixels."""
    padded = np.pad(mask.astype(int), 1)
    return int(((padded[1:, 1:] + padded[1:, :-1] + padded[:-1, 1:] + padded[:-1, :-1]) % 2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_masks_look_like_their_names(seed):
    masks = {shape: Mask(shape=shape, share=0.3).sample(1, (3, 128, 128), rng(seed))["mask"][0, 0].numpy() > 0 for shape in SHAPES}
    assert corners(masks["centre"]) == 4
    assert corners(masks["boxes"]) < 100 < corners(masks["strokes"]) < 2000 < corners(masks["pixels"])
    disc = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2
    kept = {shape: scipy.ndimage.binary_opening(mask, disc).sum() / mask.sum() for shape, mask in masks.items()}
    assert kept["strokes"] > 0.9
    assert kept["pixels"] < 0.1


# Sequences.


def test_a_sequence_is_its_steps_in_order():
    steps = (CameraShake(length=6.0), GaussianNoise(sigma=0.1), Jpeg(quality=30))
    part = Sequence(steps=steps)
    params = part.sample(2, (3, 96, 96), rng(9))
    assert set(params) == {"psf", "noise", "sigma", "quality"}
    expected = images = photo().repeat(2, 1, 1, 1)
    for step in steps:
        expected = step.apply(expected, {name: params[name] for name in step.params}).image
    result = part.apply(images, params)
    assert torch.equal(result.image, expected)
    assert torch.equal(result.params["psf"], params["psf"])


def test_a_second_parameter_of_one_name_gets_the_number_of_its_step():
    part = Sequence(steps=(GaussianNoise(sigma=0.1), GaussianBlur(sigma=1.0), GaussianNoise(sigma=0.02)))
    assert part.params == ("noise", "sigma", "psf", "2.noise", "2.sigma")
    params = part.sample(1, (3, 96, 96), rng())
    assert float(params["sigma"]) == pytest.approx(0.1)
    assert float(params["2.sigma"]) == pytest.approx(0.02)
    assert not torch.equal(params["noise"], params["2.noise"])


def test_names_stay_unique_in_nested_sequences():
    noise = GaussianNoise(sigma=0.1)
    part = Sequence(steps=(Sequence(steps=(noise, noise)), noise, Sequence(steps=(noise, noise))))
    assert len(set(part.params)) == len(part.params) == 10
    params = part.sample(1, (1, 9, 9), rng())
    assert len({value.numpy().tobytes() for name, value in params.items() if "noise" in name}) == 5
    assert set(part.apply(torch.rand(1, 1, 9, 9), params).params) == set(params)


def test_psf_is_the_whole_blur_where_there_are_two():
    part = Sequence(steps=(CameraShake(length=5.0), GaussianNoise(sigma=0.0), MotionBlur(length=7.0)))
    assert set(part.params) == {"0.psf", "2.psf", "psf", "noise", "sigma"}
    params = part.sample(2, (3, 96, 96), rng(3))
    images = photo().repeat(2, 1, 1, 1)
    result = part.apply(images, params)
    edge = part.margin
    assert edge == 5 + 3
    for i in range(2):
        whole = scipy.ndimage.convolve(images[i, 0].double().numpy(), result.params["psf"][i].double().numpy(), mode="mirror")
        np.testing.assert_allclose(result.image[i, 0, edge:-edge, edge:-edge], whole[edge:-edge, edge:-edge], atol=2e-6)


def test_psf_means_the_grid_of_the_result():
    before = Sequence(steps=(CameraShake(length=5.0), Downscale(factor=2)))
    assert before.params == ("0.psf",)
    after = Sequence(steps=(CameraShake(length=5.0), Downscale(factor=2), GaussianBlur(sigma=1.0)))
    assert after.params == ("0.psf", "psf")
    assert torch.equal(after.sample(1, (3, 32, 32), rng())["psf"], GaussianBlur(sigma=1.0).sample(1, (3, 16, 16), rng())["psf"])


def test_scales_multiply_and_margins_shrink_with_them():
    part = Sequence(steps=(CameraShake(length=9.0), Downscale(factor=2), GaussianBlur(sigma=1.0), Downscale(factor=3), GaussianNoise()))
    assert part.scale == 6
    assert part.margin == -(-(5 + 2 + 4) // 3) + 2
    params = part.sample(1, (3, 41, 50), rng())
    result = part.apply(torch.rand(1, 3, 41, 50, generator=rng()), params)
    assert result.image.shape == (1, 3, 7, 9)
    assert params["noise"].shape == (1, 3, 7, 9)


def test_masks_are_united_and_scaled():
    first, second = Mask(shape="boxes", share=0.2), Mask(shape="pixels", share=0.1)
    part = Sequence(steps=(first, second))
    params = part.sample(2, (3, 30, 31), rng())
    assert torch.equal(part.apply(torch.rand(2, 3, 30, 31), params).need("mask"), torch.maximum(params["mask"], params["1.mask"]))

    part = Sequence(steps=(first, Downscale(factor=2)))
    params = part.sample(1, (3, 31, 31), rng())
    mask = part.apply(torch.rand(1, 3, 31, 31), params).need("mask")[0, 0].numpy()
    source = np.pad(params["mask"][0, 0].numpy(), (0, 1))
    assert np.array_equal(mask, source.reshape(16, 2, 16, 2).max((1, 3)))


def test_a_mask_leaves_other_steps_alone():
    part = Sequence(steps=(GaussianNoise(sigma=0.1), Mask(shape="centre", share=0.25, fill=1.0)))
    params = part.sample(1, (3, 32, 32), rng())
    result = part.apply(photo(32), params)
    noisy = GaussianNoise(sigma=0.1).apply(photo(32), {name: params[name] for name in ("noise", "sigma")}).image
    assert torch.equal(result.image, torch.where(result.need("mask") > 0, torch.ones(()), noisy))
