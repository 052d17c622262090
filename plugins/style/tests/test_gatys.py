"""The restorer: what its options do, what it keeps, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from restorekit_style.colours import luminance
from restorekit_style.gatys import Gatys, pyramid, share_steps
from torch import Tensor

import restorekit as rk
from restorekit.images import Degraded
from restorekit.interfaces import Iteration

FILTERS = {"part": "style/random-filters", "scales": 3, "channels": 16, "side": 3}


def image(*shape: int, seed: int) -> Tensor:
    """Smooth areas with texture."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(shape[0], shape[1], 4, 4, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, shape[2:], mode="bilinear")
    return (smooth + 0.1 * torch.randn(shape, generator=rng)).clamp(0, 1)


PHOTO, STYLE = image(1, 3, 40, 56, seed=1), image(1, 3, 48, 40, seed=2)


def gatys(**options: Any) -> Gatys:
    made = rk.registry().create("restorer", "style/gatys", **{"features": FILTERS, "steps": 12, "precision": "fp32", **options})
    assert isinstance(made, Gatys)
    return made


class Seen:
    """Listens, and stops after `stop` steps."""

    def __init__(self, stop: int = 10**6) -> None:
        self.steps: list[Iteration] = []
        self.stop = stop

    def __call__(self, step: Iteration) -> bool:
        self.steps.append(step)
        return step.step < self.stop


def painted(method: Gatys, photo: Tensor = PHOTO, *styles: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Iteration]]:
    listener = method.listener = Seen()
    first, *others = styles or (STYLE,)
    return method.restore(Degraded(photo, mask, {}, first, tuple(others))), listener.steps


@pytest.mark.parametrize("options", [{}, {"optimizer": "lbfgs"}, {"statistics": "moments"}, {"precision": "bf16"}, {"tile": 64}])
def test_the_total_falls_and_the_terms_are_told(options: dict[str, Any]) -> None:
    result, steps = painted(gatys(steps=30, **options))
    assert result.shape == PHOTO.shape
    assert [step.step for step in steps] == list(range(1, 31))
    assert set(steps[0].terms) == {"content", "style", "tv", "total"}
    assert steps[0].terms["content"] < 1e-3, "it starts from the photograph"
    assert min(step.terms["total"] for step in steps) < 0.8 * steps[0].terms["total"]
    assert steps[-1].picture().shape == PHOTO.shape


def test_seeds_and_starts() -> None:
    first, again, other = (painted(gatys(start="noise", seed=seed, steps=2))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    far = {start: (painted(gatys(start=start, steps=1))[0] - PHOTO).abs().mean().item() for start in ("content", "blend", "noise")}
    assert far["content"] < far["blend"] < far["noise"]
    red = torch.stack([STYLE[:, 0], 0.1 * STYLE[:, 1], 0.1 * STYLE[:, 2]], 1)
    recoloured = painted(gatys(start="recoloured", steps=1), PHOTO, red)[0]
    torch.testing.assert_close(recoloured.mean((0, 2, 3)), red.mean((0, 2, 3)), atol=0.03, rtol=0)
    assert torch.equal(painted(gatys(start="blend", noise=1.0, steps=1))[0], painted(gatys(start="noise", steps=1))[0])


def test_weights_of_the_terms() -> None:
    def last(**options: Any) -> dict[str, float]:
        found = painted(gatys(steps=40, **options))[1]
        return dict(min(found, key=lambda step: step.terms["total"]).terms)

    weak, strong = last(style_weight=1.0), last(style_weight=100.0)
    assert strong["style"] / 100 < weak["style"], "more style is nearer to the style"
    assert strong["content"] > weak["content"]
    assert last(tv_weight=500.0)["tv"] / 500 < last(tv_weight=1.0)["tv"]
    assert "content" not in last(content_weight=0.0, start="noise")


def test_several_references_and_their_weights() -> None:
    other = image(1, 3, 30, 60, seed=3)
    alone, _ = painted(gatys(), PHOTO, STYLE)
    weighted, _ = painted(gatys(reference_weights=[1.0, 0.0]), PHOTO, STYLE, other)
    both, _ = painted(gatys(), PHOTO, STYLE, other)
    torch.testing.assert_close(weighted, alone)
    assert not torch.allclose(both, alone, atol=1e-3)
    for weights, count in (([1.0], 2), ([1.0, 2.0, 3.0], 1)):
        with pytest.raises(rk.UserError, match=rf"reference_weights: {len(weights)} for {count} reference"):
            painted(gatys(reference_weights=weights), PHOTO, *([STYLE] * count))


def test_a_mask_restricts_it() -> None:
    mask = torch.zeros(1, 1, 40, 56)
    mask[..., 10:30, 10:30] = 1
    for options in ({}, {"colours": "luminance"}, {"optimizer": "lbfgs"}):
        result, _ = painted(gatys(**options), mask=mask)
        outside = mask.expand_as(PHOTO) == 0
        assert torch.equal(result[outside], PHOTO[outside])
        assert (result - PHOTO)[~outside].abs().mean() > 0.01
    assert torch.equal(painted(gatys(), mask=torch.zeros_like(mask))[0], PHOTO)


def test_colours() -> None:
    kept, _ = painted(gatys(colours="luminance", steps=30))
    grey = luminance(kept)
    inside = ((kept > 0.01) & (kept < 0.99)).all(1, keepdim=True).expand_as(kept)
    chroma = PHOTO - luminance(PHOTO)
    torch.testing.assert_close((kept - grey)[inside], chroma[inside], atol=1e-5, rtol=0)
    assert (grey - luminance(PHOTO)).abs().mean() > 0.01
    brown = (STYLE.mean(1, keepdim=True) * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1)).expand(1, 3, -1, -1)
    drawn, _ = painted(gatys(colours="luminance", start="recoloured", steps=5), PHOTO, brown)
    lightest = ((drawn > 0.02) & (drawn < 0.98)).all(1)
    assert (drawn[:, 0] - drawn[:, 2])[lightest].std() < 0.3 * (PHOTO[:, 0] - PHOTO[:, 2]).std(), "the drawing has the reference's colours"
    red = torch.stack([STYLE[:, 0], 0.1 * STYLE[:, 1], 0.1 * STYLE[:, 2]], 1)
    plain, matched = (painted(gatys(colours=c, steps=60), PHOTO, red)[0].mean((0, 2, 3)) for c in ("style", "histogram"))
    photo = PHOTO.mean((0, 2, 3))
    assert (matched - photo).abs().max() < 0.5 * (plain - photo).abs().max()


def test_grey_photographs_and_batches() -> None:
    grey = PHOTO.mean(1, keepdim=True)
    assert painted(gatys(), grey)[0].shape == PHOTO.shape
    photos, styles = torch.cat([PHOTO, 1 - PHOTO]), torch.cat([STYLE, 1 - STYLE])
    both = gatys().restore(Degraded(photos, reference=styles))
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], gatys().restore(Degraded(photos[i : i + 1], reference=styles[i : i + 1])))
    with pytest.raises(rk.UserError, match="one for all images or one for each of the 2"):
        gatys().restore(Degraded(photos, reference=torch.cat([styles, STYLE])))


def test_stopping_keeps_the_best() -> None:
    method = gatys(steps=200)
    method.listener = Seen(stop=5)
    result = method.restore(Degraded(PHOTO, reference=STYLE))
    assert len(method.listener.steps) == 5
    full, _ = painted(gatys(steps=5))
    torch.testing.assert_close(result, full)
    assert not torch.equal(result, PHOTO)


def test_tolerance_ends_early() -> None:
    _, steps = painted(gatys(steps=400, tolerance=0.05))
    assert 20 < len(steps) < 400


def test_coarse_to_fine() -> None:
    assert pyramid((512, 640), None) == [(128, 160), (256, 320), (512, 640)]
    assert pyramid((150, 640), None) == [(150, 640)]
    assert pyramid((40, 56), 2) == [(20, 28), (40, 56)]
    for steps, scales in ((100, 3), (7, 4), (2, 5)):
        shared = share_steps(steps, scales)
        assert len(shared) == scales
        assert min(shared) >= 1
        assert sum(shared) == max(steps, scales)
    result, steps = painted(gatys(scales=2))
    assert result.shape == PHOTO.shape
    assert all(step.picture().shape == PHOTO.shape for step in steps)


def test_references_are_resized_and_never_enlarged() -> None:
    method = gatys(style_scale=0.5)
    assert method._style(torch.rand(1, 3, 100, 200), (50, 80)).shape == (1, 3, 20, 40)
    assert method._style(torch.rand(1, 3, 10, 20), (500, 800)).shape == (1, 3, 10, 20)


def test_one_style_weight_suits_any_network() -> None:
    """A network whose maps are ten times as large gives the same picture."""
    first, second = gatys(), gatys()
    for filters in second.features.filters:
        filters.data.mul_(10)
    torch.testing.assert_close(painted(first)[0], painted(second)[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style_layers": ["scale9"]}, "style_layers: the feature network has no layer scale9.*Layers: scale1, scale2, scale3"),
        ({"content_layers": ["relu4_2"]}, "content_layers: .*relu4_2.*Layers: scale1"),
        ({"layer_weights": [1.0]}, "layer_weights: 1 for 3 style layers"),
        ({"layer_weights": [0.0, 0.0, 0.0]}, "layer_weights: all are 0"),
        ({"reference_weights": [0.0]}, "reference_weights: all are 0"),
        ({"start": "photo"}, "start: got 'photo'; expected content | recoloured | noise | blend"),
        ({"steps": 0}, "steps: got 0; expected int >= 1"),
        ({"features": {"part": "core/vgg19", "weights": "no-such-file.pth"}}, "no file 'no-such-file.pth'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(rk.UserError, match=message):
        gatys(**options)


def test_pictures_that_are_too_small_are_refused_before_the_first_step() -> None:
    method = gatys(features={"part": "core/squeezenet", "weights": "random"}, border=0)
    for photo, style, what in (
        (image(1, 3, 12, 12, seed=1), STYLE, "photograph: 12×12"),
        (PHOTO, image(1, 3, 9, 9, seed=1), "reference 1: 9×9"),
    ):
        method.listener = Seen()
        with pytest.raises(rk.UserError, match=f"{what}.*too small for the layers features"):
            method.restore(Degraded(photo, reference=style))
        assert not method.listener.steps


def test_without_weights_it_says_so_and_takes_untrained_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str, name: str, **options: Any) -> None:
        raise rk.UserError("weights: imagenet could not be downloaded; put vgg19.pth at /there")

    registry = rk.registry()
    monkeypatch.setattr(type(registry), "create", lambda self, kind, name, **options: refuse(kind, name))
    with pytest.warns(UserWarning, match=r"untrained filters \(style/random-filters\).*put vgg19.pth at /there"):
        method = Gatys(steps=2)
    assert method.terms.style_layers == ("scale1", "scale2", "scale3", "scale4", "scale5")
