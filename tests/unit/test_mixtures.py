"""Degradations in random order and of some images only."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import skimage.data
import torch

import restorekit as rk
from restorekit.builtin.blurs import CameraShake, GaussianBlur
from restorekit.builtin.degradations import GaussianNoise, Jpeg, Saturation
from restorekit.builtin.masks import Mask
from restorekit.builtin.psf import compose
from restorekit.builtin.sequences import OneOf, RandomOrder, Sequence, Sometimes
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

TRAINING = """
recipe: 1
task: deblur
degradation:
  - {part: core/camera-shake, length: [5, 22]}
  - {part: core/gaussian-noise, sigma: [0, 0.03]}
  - {part: core/sometimes, probability: 0.5, degradation: {part: core/jpeg, quality: [60, 95]}}
generator: {part: deblurgan/compact}
losses: [core/l1]
data: {sharp_share: 0.1}
"""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photo(size: int = 48) -> torch.Tensor:
    pixels = skimage.data.astronaut()[100 : 100 + size, 160 : 160 + size]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


class Guide(Degradation):
    """Keeps the image and gives it a reference."""

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, torch.Tensor]:
        return {}

    def apply(self, image: torch.Tensor, params: object) -> Degraded:
        return Degraded(image, reference=1 - image)


# Random order.


def test_each_image_goes_through_the_steps_in_its_own_order():
    steps = (CameraShake(length=6.0), GaussianNoise(sigma=0.1), Saturation(stops=2.0), Jpeg(quality=40))
    part = RandomOrder(steps=steps)
    images = photo().repeat(6, 1, 1, 1) * torch.linspace(0.5, 1, 6).view(-1, 1, 1, 1)
    params = part.sample(6, (3, 48, 48), rng(1))
    assert set(params) == {"psf", "noise", "sigma", "stops", "quality", "order"}
    result = part.apply(images, params)
    assert len(params["order"].unique(dim=0)) > 3
    for i in range(6):
        expected = images[i : i + 1]
        for number in params["order"][i].tolist():
            own = {name: params[name][i : i + 1] for name in steps[number].params}
            expected = steps[number].apply(expected, own).image
        assert torch.equal(result.image[i : i + 1], expected)
    assert all(torch.equal(result.params[name], params[name]) for name in params)


def test_every_order_comes_as_often():
    part = RandomOrder(steps=(GaussianBlur(sigma=0.5), Saturation(), Jpeg()))
    orders = part.sample(6000, (1, 2, 2), rng(2))["order"]
    counts = Counter(map(tuple, orders.tolist()))
    assert set(counts) == set(itertools.permutations(range(3)))
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_the_psf_of_several_blurs_is_their_convolution_in_any_order():
    part = RandomOrder(steps=(CameraShake(length=4.0), GaussianBlur(sigma=1.0)))
    assert part.params == ("0.psf", "1.psf", "psf", "order")
    assert part.margin == 4 + 4
    params = part.sample(3, (3, 48, 48), rng(3))
    torch.testing.assert_close(params["psf"], compose([params["0.psf"], params["1.psf"]]))


def test_masks_are_united_and_references_kept():
    part = RandomOrder(steps=(Mask(shape="boxes", share=0.2), Mask(shape="pixels", share=0.1), Guide()))
    images = photo(30).repeat(4, 1, 1, 1)
    params = part.sample(4, (3, 30, 30), rng(4))
    result = part.apply(images, params)
    assert torch.equal(result.need("mask"), torch.maximum(params["mask"], params["1.mask"]))
    assert result.need("reference").shape == images.shape
    untouched = result.need("mask").expand(-1, 3, -1, -1) == 0
    assert torch.equal(result.image[untouched], images[untouched])


def test_orders_within_orders_keep_their_names_apart():
    part = RandomOrder(steps=(RandomOrder(steps=(GaussianNoise(), Jpeg())), Sometimes(degradation=GaussianNoise()), GaussianNoise()))
    assert len(set(part.params)) == len(part.params) == 10
    params = part.sample(2, (1, 8, 8), rng())
    assert set(part.apply(torch.rand(2, 1, 8, 8), params).params) == set(params) == set(part.params)


# Sometimes.


def test_the_others_stay_as_they_are():
    part = Sometimes(degradation=Jpeg(quality=(5, 30)), probability=0.4)
    images = photo().repeat(12, 1, 1, 1)
    params = part.sample(12, (3, 48, 48), rng(5))
    result = part.apply(images, params).image
    assert 0 < float(params["applied"].sum()) < 12
    for i in range(12):
        if params["applied"][i]:
            expected = Jpeg().apply(images[:1], {"quality": params["quality"][i : i + 1]}).image[0]
            assert torch.equal(result[i], expected)
        else:
            assert torch.equal(result[i], images[i])


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_share_is_the_probability(probability):
    applied = Sometimes(degradation=Saturation(), probability=probability).sample(4000, (1, 2, 2), rng(6))["applied"]
    assert float(applied.mean()) == pytest.approx(probability, abs=0.03 if 0 < probability < 1 else 0)


def test_what_is_recorded_of_the_others_is_no_blur_and_no_noise():
    part = Sometimes(degradation=Sequence(steps=(CameraShake(length=6.0), GaussianNoise(sigma=0.1), GaussianBlur(sigma=1.0))))
    params = part.sample(20, (3, 16, 16), rng(7))
    skipped = params["applied"] == 0
    assert 0 < int(skipped.sum()) < 20
    assert (params["sigma"][skipped] == 0).all()
    assert (params["sigma"][~skipped] == 0.1).all()
    for name in ("0.psf", "2.psf", "psf"):
        psf = params[name][skipped]
        assert (psf[:, psf.shape[1] // 2, psf.shape[2] // 2] == 1).all()
        assert (psf.sum((1, 2)) == 1).all()
    images = torch.rand(20, 3, 16, 16, generator=rng(8))
    assert torch.equal(part.apply(images, params).image[skipped], images[skipped])


def test_a_blur_before_it_is_the_whole_blur_of_the_others():
    part = Sequence(steps=(CameraShake(length=5.0), Sometimes(degradation=GaussianBlur(sigma=1.0))))
    params = part.sample(12, (3, 8, 8), rng(9))
    for i in range(12):
        alone = params["0.psf"][i]
        reach = (params["psf"].shape[-1] - alone.shape[-1]) // 2
        same = np.allclose(params["psf"][i, reach:-reach, reach:-reach], alone, atol=1e-6)
        assert same == (not params["applied"][i])


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_there_is_always_a_mask_where_there_may_be_one(probability):
    part = Sometimes(degradation=Mask(share=0.3, fill=0.5), probability=probability)
    params = part.sample(6, (3, 30, 30), rng(10))
    result = part.apply(photo(30).repeat(6, 1, 1, 1), params)
    expected = params["mask"] * params["applied"].view(-1, 1, 1, 1)
    assert torch.equal(result.need("mask"), expected)


def test_a_reference_comes_through():
    part = Sometimes(degradation=Guide(), probability=1.0)
    result = part.apply(photo(), part.sample(1, (3, 48, 48), rng()))
    assert torch.equal(result.need("reference"), 1 - photo())


def test_a_recipe_can_say_what_the_shipped_model_trains_on(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(TRAINING, encoding="utf-8")
    content = rk.recipe(tmp_path / "mine.yaml").check(rk.registry()).content
    part = rk.registry().create("degradation", "core/sequence", steps=content["degradation"]["steps"])
    params = part.sample(4000, (1, 2, 2), rng(11))
    assert float(params["sigma"].min()) < 0.001
    assert 0.029 < float(params["sigma"].max()) <= 0.03
    assert (int(params["quality"].min()), int(params["quality"].max())) == (60, 95)
    assert float(params["applied"].mean()) == pytest.approx(0.5, abs=0.03)
    assert part.margin == 22 + 16


# One of several.


def test_each_image_gets_what_its_choice_alone_would_do():
    choices = (CameraShake(length=6.0), Saturation(stops=2.0), Jpeg(quality=30))
    mixed = OneOf(choices=choices)
    images = photo().expand(12, -1, -1, -1)
    params = mixed.sample(12, tuple(images.shape[1:]), rng())
    made = mixed.apply(images, params).image
    assert set(params["choice"].tolist()) == {0, 1, 2}
    for n, choice in enumerate(params["choice"].tolist()):
        own = {name: params[f"{choice}.{name}"][n : n + 1] for name in choices[choice].params}
        torch.testing.assert_close(made[n : n + 1], choices[choice].apply(images[n : n + 1], own).image)


def test_choices_come_as_often_as_their_weights_say():
    mixed = OneOf(choices=(GaussianNoise(sigma=0.1), Saturation(), Jpeg()), weights=(3.0, 1.0, 0.0))
    counts = torch.bincount(mixed.sample(2000, (3, 1, 1), rng())["choice"], minlength=3)
    assert counts[2] == 0
    assert scipy.stats.binomtest(int(counts[0]), 2000, 0.75).pvalue > 1e-3


def test_the_psf_of_the_choice_is_recorded_where_all_are_blurs():
    short, long = CameraShake(length=4.0), CameraShake(length=12.0)
    params = OneOf(choices=(short, long)).sample(8, (3, 48, 48), rng())
    for n, choice in enumerate(params["choice"].tolist()):
        own = params[f"{choice}.psf"][n]
        edge = (params["psf"].shape[1] - own.shape[0]) // 2
        inner = params["psf"][n, edge : edge + own.shape[0], edge : edge + own.shape[1]]
        torch.testing.assert_close(inner, own)
        assert params["psf"][n].sum().item() == pytest.approx(1, abs=1e-5)
    assert "psf" not in OneOf(choices=(short, Jpeg())).params


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"choices": []}, "choices"),
        ({"choices": ["core/jpeg", "core/downscale"]}, r"choices\.1"),
        ({"choices": ["core/jpeg", "core/saturation"], "weights": [1.0]}, "give one for each"),
        ({"choices": ["core/jpeg"], "weights": [0.0]}, "above 0"),
    ],
)
def test_choices_that_cannot_be_made_are_refused(options, told):
    with pytest.raises(rk.UserError, match=told):
        rk.registry().create("degradation", "core/one-of", **options)
