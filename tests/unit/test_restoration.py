"""What core lets a restorer see, and what it accepts from one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import discovery
from restorekit.builtin.network import Box, Network
from restorekit.errors import ImageError
from restorekit.images import Degraded
from restorekit.interfaces import Restorer
from restorekit.restoration import restore, self_ensemble

IMAGE = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
PSF = torch.full((2, 3, 3), 1 / 9)
EVERYTHING = Degraded(
    IMAGE,
    mask=torch.ones(2, 1, 12, 16),
    params={"psf": PSF, "sigma": torch.ones(2)},
    reference=torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)),
)


class Nosy(Restorer):
    """Notes all that it is given."""

    def __init__(self, *uses: str) -> None:
        self.uses = frozenset(uses)
        self.seen: Degraded | None = None

    def restore(self, degraded: Degraded) -> Tensor:
        self.seen = degraded
        return degraded.image


class Cheat(Restorer):
    """Declares nothing and reads the true PSF."""

    def restore(self, degraded: Degraded) -> Tensor:
        return degraded.image * degraded.need("psf").mean()


class Fixed(Restorer):
    """Returns what it was built with."""

    def __init__(self, result: Tensor, scale: int = 1) -> None:
        self.result = result
        self.scale = scale

    def restore(self, degraded: Degraded) -> Tensor:
        return self.result


@pytest.mark.parametrize("uses", [(), ("mask",), ("psf",), ("sigma", "reference"), ("mask", "psf", "sigma", "reference")])
def test_only_declared_fields_are_seen(uses: tuple[str, ...]) -> None:
    nosy = Nosy(*uses)
    restore(nosy, EVERYTHING)
    assert nosy.seen is not None
    assert torch.equal(nosy.seen.image, IMAGE)
    seen = set(nosy.seen.params) | {name for name in ("mask", "reference") if getattr(nosy.seen, name) is not None}
    assert seen == set(uses)


def test_a_blind_method_cannot_peek_at_the_kernel() -> None:
    with pytest.raises(ImageError, match="psf"):
        restore(Cheat(), EVERYTHING)


def test_what_is_not_used_need_not_fit() -> None:
    misfit = Degraded(IMAGE, mask=torch.ones(1, 1, 3, 3), params={"psf": torch.ones(1, 99, 99)})
    assert torch.equal(restore(Nosy(), misfit), IMAGE)


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(3, 8, 8),
        torch.zeros(1, 3, 0, 8),
        torch.full((1, 3, 8, 8), 1.5),
        torch.full((1, 3, 8, 8), torch.nan),
        torch.zeros(1, 3, 8, 8).byte(),
    ],
)
def test_images_out_of_contract_are_refused(image: Tensor) -> None:
    with pytest.raises(ImageError, match="image: "):
        restore(Nosy(), Degraded(image))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(2, 1, 12, 15), "the mask is 15×12, the image 16×12"),
        (torch.ones(1, 1, 12, 16), "1 mask"),
        (torch.ones(2, 3, 12, 16), "mask: expected 1 channels"),
        (torch.full((2, 1, 12, 16), 255.0), "mask: values"),
    ],
)
def test_masks_that_do_not_fit(mask: Tensor, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        restore(Nosy("mask"), Degraded(IMAGE, mask=mask))


@pytest.mark.parametrize(
    ("psf", "words"),
    [
        (torch.full((2, 13, 3), 1 / 39), "the PSF is 3×13 and the image only 16×12"),
        (torch.full((2, 4, 3), 1 / 12), "odd sizes"),
        (torch.full((1, 3, 3), 1 / 9), "one for each image"),
        (torch.full((3, 3), 1 / 9), "one for each image"),
        (torch.full((2, 3, 3), 1.0), "sums to 9"),
        (torch.full((2, 3, 3), torch.nan), "sums to"),
        (torch.tensor([1.0, -1.0, 1.0]).expand(2, 1, 3), "not negative"),
    ],
)
def test_kernels_that_do_not_fit(psf: Tensor, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        restore(Nosy("psf"), Degraded(IMAGE, params={"psf": psf}))


def test_a_reference_out_of_range_is_refused() -> None:
    with pytest.raises(ImageError, match="reference: "):
        restore(Nosy("reference"), Degraded(IMAGE, reference=torch.full((1, 3, 4, 4), 255.0)))


@pytest.mark.parametrize("result", [IMAGE[:1], IMAGE[..., :8], IMAGE[0], F.interpolate(IMAGE, scale_factor=2)])
def test_a_result_of_another_size_is_refused_by_name(result: Tensor) -> None:
    with pytest.raises(ImageError, match=r"mine/odd returned shape .* expected 2 image.* of 16×12"):
        restore(Fixed(result), Degraded(IMAGE), name="mine/odd")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_result_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ImageError, match="Fixed returned values that are not finite"):
        restore(Fixed(torch.full_like(IMAGE, value)), Degraded(IMAGE))


def test_results_are_clamped_and_scale_is_heeded() -> None:
    assert restore(Fixed(IMAGE * 3 - 1), Degraded(IMAGE)).aminmax() == (0, 1)
    assert restore(Fixed(F.interpolate(IMAGE, scale_factor=2), scale=2), Degraded(IMAGE)).shape == (2, 3, 24, 32)


class Descent(Restorer):
    """Restores by gradient descent, as latent searches and style transfer do."""

    def restore(self, degraded: Degraded) -> Tensor:
        guess = torch.full_like(degraded.image, 0.5, requires_grad=True)
        (gradient,) = torch.autograd.grad((guess - degraded.image).square().sum() / 2, guess)
        return guess - gradient


def test_a_restorer_may_optimise_and_its_result_carries_no_graph() -> None:
    restored = restore(Descent(), Degraded(IMAGE))
    torch.testing.assert_close(restored, IMAGE)
    assert not restored.requires_grad


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_restores_colour_and_grey(channels: int) -> None:
    image = IMAGE[:, :channels]
    expected = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    torch.testing.assert_close(restore(Network(generator=Box()), Degraded(image)), expected)


def test_a_network_needs_one_source() -> None:
    with pytest.raises(ValueError, match=r"file .* or generator"):
        Network()


def test_the_ensemble_of_a_method_that_knows_no_direction_is_the_method() -> None:
    psf = torch.zeros(1, 5, 5)
    psf[0, 2, 1:] = 0.25
    image = torch.rand(1, 3, 12, 20, generator=torch.Generator().manual_seed(3))
    wiener = discovery.registry().create("restorer", "core/wiener")
    given = Degraded(image, None, {"psf": psf})
    torch.testing.assert_close(self_ensemble(wiener, given), restore(wiener, given), atol=1e-4, rtol=0)


def test_the_ensemble_takes_the_mean_over_directions() -> None:
    class Shift(Restorer):
        def restore(self, degraded: Degraded) -> Tensor:
            return degraded.image.roll(1, -1)

    image = torch.zeros(1, 1, 9, 7)
    image[..., 4, 3] = 1
    made = self_ensemble(Shift(), Degraded(image))[0, 0]
    assert {(4, 2), (4, 4), (3, 3), (5, 3)} == {tuple(at) for at in made.nonzero().tolist()}
    assert made[made > 0].tolist() == [0.25] * 4
