"""Completion: Poisson blending against exact solutions, windows that own every missing pixel once, and the search itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from restorekit_dcgan.blending import blended
from restorekit_dcgan.completion import Completion, example
from restorekit_dcgan.windows import around, thick
from torch import Tensor, nn

import restorekit as rk
from restorekit.images import Degraded, SizeRule
from restorekit.interfaces import Critic, Generator
from restorekit.modelfile import Model


def hole_of(height: int, width: int, *place: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[place[0] : place[1], place[2] : place[3]] = True
    return hole


def ellipse(height: int, width: int, down: float, across: float, slant: float = 0.0) -> np.ndarray:
    """In the middle, by its half axes; a slant of one leans it to the upper right."""
    y, x = np.mgrid[:height, :width] - np.array([height // 2, width // 2])[:, None, None]
    return np.asarray(((y + slant * x) / down) ** 2 + (x / across) ** 2 <= 1)


def test_blending_a_brighter_copy_gives_the_picture_back() -> None:
    """The gradients are right and the border is, so the brightness of the guide must not matter."""
    picture = np.random.default_rng(0).random((20, 30, 3))
    hole = hole_of(20, 30, 4, 13, 6, 30)  # up to the picture's border
    broken = np.where(hole[:, :, None], 0.0, picture)
    np.testing.assert_allclose(blended(broken, picture + np.array([0.3, -0.2, 5.0]), hole), picture, atol=1e-9)


def test_blending_a_flat_guide_is_the_membrane() -> None:
    """Without gradients the fill is harmonic: each missing pixel is the mean of its neighbours."""
    picture = np.random.default_rng(1).random((12, 12, 1))
    hole = hole_of(12, 12, 3, 9, 2, 8)
    filled = blended(picture, np.zeros_like(picture), hole)
    means = (filled[:-2, 1:-1] + filled[2:, 1:-1] + filled[1:-1, :-2] + filled[1:-1, 2:]) / 4
    np.testing.assert_allclose(filled[1:-1, 1:-1][hole[1:-1, 1:-1]], means[hole[1:-1, 1:-1]], atol=1e-12)
    np.testing.assert_array_equal(filled[~hole], picture[~hole])


@pytest.mark.parametrize(
    "hole",
    [
        hole_of(64, 64, 24, 40, 24, 40),
        hole_of(100, 90, 20, 80, 10, 80),  # thicker than a window at full scale
        hole_of(80, 200, 38, 42, 0, 200),  # long and thin
        hole_of(25, 25, 6, 19, 6, 19),  # the picture is smaller than the generator's
        np.random.default_rng(0).random((90, 120)) < 0.2,
        hole_of(64, 64, 0, 10, 0, 10) | hole_of(64, 64, 60, 64, 50, 64),
        ellipse(90, 90, 20, 20),
        ellipse(120, 120, 6, 55, 0.9),
        ellipse(50, 200, 24, 90),  # nearly as high as the picture, and longer
    ],
    ids=["centre", "thick", "thin", "small", "pixels", "corners", "round", "slanting", "wide"],
)
def test_windows_own_every_missing_pixel_once(hole: np.ndarray) -> None:
    owned = np.zeros(hole.shape, int)
    for window in around(hole, 28, 0.6):
        assert window.side >= min(28, *hole.shape)
        assert hole[window.place][window.own].all()
        assert (~hole[window.place]).any()
        owned[window.place] += window.own
    np.testing.assert_array_equal(owned, hole.astype(int))


def test_a_hole_keeps_room_around_it() -> None:
    (window,) = around(hole_of(200, 200, 70, 130, 70, 130), 28, 0.6)
    assert window.side == 100
    (window,) = around(hole_of(200, 200, 90, 100, 90, 100), 28, 0.6)
    assert window.side == 28
    assert len(around(hole_of(80, 200, 38, 42, 0, 200), 28, 0.6)) < 20


def test_a_round_hole_is_one_and_a_stroke_few() -> None:
    """What is filled from several windows shows where they meet."""
    for radius in (8, 15, 30, 60):
        assert len(around(ellipse(200, 200, radius, radius), 28, 0.6)) == 1
    for slant in (0, 0.9, -0.9):
        stroke = ellipse(200, 200, 5, 90, slant)
        # A window owns 18 rows and columns, of which a slanting stroke of this thickness fills nearly two.
        assert len(around(stroke, 28, 0.6)) <= 2 * max(np.ptp(axis) + 1 for axis in np.nonzero(stroke)) / 18


def test_thick_parts_are_taken_whole_and_thin_ones_left() -> None:
    line, square, border = hole_of(60, 60, 10, 14, 5, 50), hole_of(60, 60, 30, 36, 20, 26), hole_of(60, 60, 57, 60, 0, 3)
    np.testing.assert_array_equal(thick(line | square | border, 4), square | border)  # beyond the border nothing is known
    tail = hole_of(60, 60, 33, 34, 26, 55)
    np.testing.assert_array_equal(thick(line | square | tail, 4), square | tail)
    np.testing.assert_array_equal(thick(line, 0), line)
    assert not thick(np.zeros((9, 9), bool), 4).any()


def test_thin_holes_are_filled_smoothly_and_cost_no_search(blobs: Any) -> None:
    truth = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., 8:11, 4:40] = 1  # three of at most five pixels: 0.16 of 32
    damaged = Degraded(truth * (1 - mask), mask)
    biharmonic = rk.registry().create("restorer", "core/biharmonic-inpaint").restore(damaged)
    completion = blobs(restarts=2, steps=2)
    completion._descent = None
    torch.testing.assert_close(completion.restore(damaged), biharmonic, atol=1e-6, rtol=0)
    thick_too = mask.clone()
    thick_too[..., 14:30, 10:30] = 1  # three rows below, where a smooth fill of the line looks at two
    filled = blobs(restarts=2, steps=2).restore(Degraded(truth * (1 - thick_too), thick_too))
    torch.testing.assert_close(filled[..., 8:11, 4:40], biharmonic[..., 8:11, 4:40], atol=1e-6, rtol=0)
    assert not torch.equal(blobs(restarts=2, steps=2, thin=0).restore(damaged), biharmonic)


class Blobs(Generator):
    """A latent of three numbers is a bright blob: its place and its size."""

    consumes = "latent"
    size = SizeRule(fixed=(32, 32))
    channels = 1
    latent = 3

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        line = torch.linspace(-2, 2, 32)
        across, down = line[None, None, :] - x[:, 0, None, None], line[None, :, None] - x[:, 1, None, None]
        width = 0.5 + 0.2 * x[:, 2, None, None].clamp(-2, 2)
        return self.factor * torch.exp(-(across**2 + down**2) / width**2)[:, None]


class NoJudge(Critic):
    channels = 1

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        assert isinstance(image, Tensor)
        return (image.mean((1, 2, 3), keepdim=True),)


@pytest.fixture
def blobs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a completion by blobs, whose answers are known."""
    model = Model(Blobs().eval(), rk.recipe({"generator": {"part": "blobs"}}), NoJudge().eval())
    monkeypatch.setattr(rk, "load", lambda path: model)
    return lambda **options: Completion(model=Path("blobs.safetensors"), **options)


def test_the_search_finds_what_was_there(blobs: Any) -> None:
    truth = Blobs()(torch.tensor([[0.3, -0.2, 0.5], [-0.6, 0.1, -0.5]])).detach()
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 10:22, 10:22] = 1
    damaged = Degraded(truth * (1 - mask), mask)
    for options in ({}, {"blend": False}):
        filled = blobs(restarts=16, steps=150, prior=0.0, **options).restore(damaged)
        assert torch.equal(filled * (1 - mask), damaged.image)
        error = ((filled - truth).abs() * mask).sum() / mask.sum()
        assert error < 0.02, options
    nothing = (truth * mask).sum() / mask.sum()
    assert nothing > 0.2


def test_restarts_momentum_and_the_prior_do_what_they_say(blobs: Any) -> None:
    truth = Blobs()(torch.tensor([[0.3, -0.2, 0.5]])).detach()
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 10:22, 10:22] = 1
    damaged = Degraded(truth * (1 - mask), mask)

    def error(**options: Any) -> float:
        return float(((blobs(steps=60, **{"prior": 0.0, **options}).restore(damaged) - truth).abs() * mask).sum() / mask.sum())

    assert error(restarts=16) <= error(restarts=1)
    assert error(restarts=4, clip=0.05) > error(restarts=4), "codes that are held at the mean fit nothing"
    assert error(restarts=4, prior=1e3) > error(restarts=4), "a critic that likes bright pictures gets them"
    assert error(restarts=4, momentum=0.0) != error(restarts=4)


def test_the_better_half_goes_on(blobs: Any) -> None:
    """Eight, four and two codes of each of two holes, and the best of all at the end."""
    truth = Blobs()(torch.tensor([[0.3, -0.2, 0.5], [-0.6, 0.1, -0.5]])).detach()
    mask = torch.zeros(2, 1, 32, 32)
    mask[..., 10:22, 10:22] = 1
    completion = blobs(restarts=8, steps=8, prior=0.0)
    losses_of, seen = completion._losses, []

    def note(*arguments: Any) -> Tensor:
        seen.append(losses_of(*arguments))
        return seen[-1]

    completion._losses = note
    completion.restore(Degraded(truth * (1 - mask), mask))
    assert [len(losses) for losses in seen] == [16, 16, 8, 8, 4, 4, 4, 4, 4]
    # A step changes a loss little: those that are left are the four that were least.
    before, after = seen[1].view(2, 8).sort(1).values, seen[2].view(2, 4).sort(1).values
    assert (after <= before[:, :4] + 0.02).all()


def test_a_hole_is_filled_the_same_whatever_else_there_is(tmp_path: Path) -> None:
    completion = Completion(**example(tmp_path))
    image = torch.rand(3, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 1, 40, 30)
    mask[..., 15:22, 10:20] = 1
    together = completion.restore(Degraded(image, mask))
    alone = completion.restore(Degraded(image[1:2], mask[1:2]))
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=0)
    assert torch.equal(together * (1 - mask), image * (1 - mask))


def test_the_search_can_be_watched_and_stopped(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two holes, one after the other: the second is flat until its turn comes."""
    monkeypatch.setattr("restorekit_dcgan.completion.ON_PROCESSOR", 16)
    truth = Blobs()(torch.tensor([[0.3, -0.2, 0.5]])).detach().repeat(1, 1, 1, 2)
    mask = torch.zeros(1, 1, 32, 64)
    mask[..., 10:22, 10:22] = mask[..., 10:22, 42:54] = 1
    damaged = Degraded(truth * (1 - mask), mask)
    completion = blobs(restarts=16, steps=30, prior=0.0, blend=False)
    seen: list[tuple[int, int, float, Tensor]] = []

    def listener(progress: Any) -> bool:
        seen.append((progress.step, progress.steps, progress.terms["loss"], progress.picture()))
        return len(seen) < 40

    completion.listener = listener
    stopped = completion.restore(damaged)
    assert [(step, steps) for step, steps, _, _ in seen] == [(step, 60) for step in range(1, 41)]
    assert torch.equal(seen[-1][3], stopped)
    first, second = (..., slice(32)), (..., slice(32, 64))
    assert seen[29][2] < 0.6 * seen[0][2]
    assert torch.equal(seen[5][3][second], torch.where(mask[second] > 0, 0.5, truth[second]))
    completion.listener = None
    whole = completion.restore(damaged)
    assert torch.equal(stopped[first], whole[first])
    assert not torch.equal(stopped[second], whole[second])
    assert torch.equal(stopped * (1 - mask), damaged.image)


def test_grey_generators_fill_colour_pictures(blobs: Any) -> None:
    truth = Blobs()(torch.tensor([[0.3, -0.2, 0.5]])).detach().expand(1, 3, -1, -1) * torch.tensor([0.9, 0.6, 0.3])[:, None, None]
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 12:20, 12:20] = 1
    filled = blobs(restarts=4, steps=40).restore(Degraded(truth * (1 - mask), mask))
    assert filled.shape == truth.shape


@pytest.mark.parametrize(
    ("mask", "message"),
    [(torch.zeros(1, 1, 32, 32), "the mask marks nothing to fill"), (torch.ones(1, 1, 32, 32), "the mask leaves no pixel to go by")],
)
def test_masks_that_say_nothing(mask: Tensor, message: str, blobs: Any) -> None:
    with pytest.raises(rk.UserError, match=message):
        blobs().restore(Degraded(torch.rand(1, 1, 32, 32), mask))


def test_models_that_complete_nothing(tmp_path: Path) -> None:
    options = example(tmp_path)
    with pytest.raises(rk.UserError, match=r"label: got 2; dcgan/generator was trained without class labels"):
        Completion(**{**options, "label": 2})
    model = rk.load(options["model"])
    model.critic = None
    model.save(tmp_path / "alone.safetensors")
    with pytest.raises(rk.UserError, match=r"holds no critic.*--set prior=0"):
        Completion(model=tmp_path / "alone.safetensors")
    assert Completion(model=tmp_path / "alone.safetensors", prior=0.0).prior == 0
    recipe = rk.recipe(
        {"recipe": 1, "generator": {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1}, "losses": ["core/l1"]}
    )
    checked = recipe.check()
    network = rk.registry().create("generator", "deblurgan/compact", width=8, blocks=[1], middle=1)
    rk.Model(network.eval(), checked).save(tmp_path / "sharp.safetensors")
    with pytest.raises(rk.UserError, match=r"deblurgan/compact restores pictures and makes none from latent vectors"):
        Completion(model=tmp_path / "sharp.safetensors")


def test_a_style_generator_is_searched_in_w(tmp_path: Path) -> None:
    spec = {"size": 16, "width": 2, "latent": 4, "mapping": 1}
    recipe = rk.recipe(
        {
            "recipe": 1,
            "generator": {"part": "dcgan/style-generator", **spec},
            "critic": {"part": "dcgan/style-critic", "size": 16, "width": 2},
            "adversarial": "core/r1",
        }
    ).check()
    generator = rk.registry().create("generator", "dcgan/style-generator", **spec).eval()
    critic = rk.registry().create("critic", "dcgan/style-critic", size=16, width=2).eval()
    rk.Model(generator, recipe, critic).save(tmp_path / "style.safetensors")
    completion = Completion(model=tmp_path / "style.safetensors", restarts=2, steps=2)
    searched: list[Tensor] = []
    decode = completion.model.generator.decode

    def note(code: Tensor, given: Tensor | None = None) -> Any:
        searched.append(code.detach())
        return decode(code, given)

    completion.model.generator.decode = note  # type: ignore[method-assign]
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 5:10, 5:10] = 1
    completion.restore(Degraded(torch.rand(1, 3, 16, 16), mask))
    with torch.no_grad():
        styles = completion.model.generator.code(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    assert searched[0].shape == styles.shape == (2, 4)
    rng = torch.Generator().manual_seed(0)
    torch.randn(1024, 4, generator=rng)
    with torch.no_grad():
        wanted = completion.model.generator.code(torch.randn(2, 4, generator=rng))
    torch.testing.assert_close(searched[0], wanted)
