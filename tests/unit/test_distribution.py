"""FID and KID against formulas with scipy's root of a matrix, and against torchmetrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from restorekit import registry
from restorekit.builtin.distribution import Fid, Kid
from restorekit.builtin.manifolds import Diversity, Precision, Recall
from restorekit.errors import ConfigError, ImageError, UserError
from restorekit.interfaces import Features, SetMetric

WEIGHTS = Path(__file__).parents[2] / "../shared/data/weights/squeezenet1_0.safetensors"
PHOTOS = Path(__file__).parents[2] / "../shared/data/cbsd68"


class Colours(Features):
    """Nine numbers a picture: means of a few functions of its colours. No network, so that sets can be large."""

    layers = ("colours",)
    weights = "random"
    seed = 0

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        image = image.expand(-1, 3, -1, -1)
        return {"colours": torch.cat([image, image**2, image.roll(1, 1) * image], 1)}


def sets(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    target = torch.rand(n, 3, 1, 1, generator=rng) * torch.rand(n, 3, 8, 8, generator=rng)
    restored = (0.9 * target + 0.05 * torch.rand(n, 3, 8, 8, generator=rng)).mul(255).round() / 255
    return restored, target.mul(255).round() / 255


def vectors(image: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(Colours()(image.double(), ["colours"])["colours"].mean((2, 3)).numpy())


def fid_by_scipy(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    shift = first.mean(0) - second.mean(0)
    return float(shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root.real))


def kid_by_loops(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    d = first.shape[1]

    def kernel(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
        return float((x @ y / d + 1) ** 3)

    own = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (first, second)]
    return float(sum(own) - 2 * np.mean([kernel(x, y) for x in first for y in second]))


@pytest.mark.parametrize("n", [30, 200])
def test_fid_equals_scipy(n: int) -> None:
    restored, target = sets(n)
    metric = Fid(features=Colours(), layer="colours", resize=None)
    metric.update(restored[:7], target[:7])
    metric.update(restored[7:], target[7:])
    assert metric.compute() == pytest.approx(fid_by_scipy(vectors(restored), vectors(target)), rel=1e-4)
    assert f"{n} samples" in metric.definition


def test_several_scores_run_one_network_once() -> None:
    class Counting(Colours):
        calls = 0

        def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
            Counting.calls += 1
            return super().forward(image, layers)

    restored, target = sets(30)
    scores = [kind(features=Counting(), layer="colours", resize=None) for kind in (Fid, Kid, Precision, Recall)]
    for score in scores:
        score.update(restored, target)
    assert Counting.calls == 2
    restored.mul_(0.5)  # the same tensor is another picture now
    changed = Fid(features=Counting(), layer="colours", resize=None)
    changed.update(restored, target)
    assert Counting.calls == 3
    assert changed.compute() == pytest.approx(fid_by_scipy(vectors((restored * 255).round() / 255), vectors(target)), rel=1e-3)
    larger = Fid(features=Counting(), layer="colours", resize=32)
    larger.update(restored, target)
    assert Counting.calls == 5
    with torch.inference_mode():
        for score in scores[:2]:
            score.update(restored.clone(), target.clone())
    assert Counting.calls == 9


def test_fid_with_fewer_samples_than_features() -> None:
    """The covariances are singular and the root of their product is not to be had; for one direction it is known."""
    metric = Fid(features=Colours(), layer="colours", resize=None)
    target = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    metric.update(target * 0.2, target)
    first, second = vectors(torch.tensor([0.0, 51 / 255]).view(2, 1, 1, 1).expand(2, 3, 4, 4)), vectors(target)
    # Both spread along one line each; the trace of the root is the product of the spreads and of the cosine of the angle.
    a, b = (s[1] - s[0] for s in (first, second))
    shift = first.mean(0) - second.mean(0)
    wanted = shift @ shift + (a @ a + b @ b) / 2 - abs(a @ b)
    assert metric.compute() == pytest.approx(float(wanted), rel=1e-5)


def test_fid_equals_torchmetrics() -> None:
    restored, target = sets(300)
    metric = Fid(features=Colours(), layer="colours", resize=None)
    metric.update(restored, target)
    theirs = FrechetInceptionDistance(feature=_Flat(), normalize=True, input_img_size=(3, 8, 8)).set_dtype(torch.float64)
    theirs.update(restored, real=False)
    theirs.update(target, real=True)
    assert metric.compute() == pytest.approx(float(theirs.compute()), rel=1e-3)


class _Flat(nn.Module):
    """The same features as torchmetrics takes them: from bytes, one vector a picture."""

    num_features = 9

    def forward(self, image: Tensor) -> Tensor:
        scaled = image.double() / 255 if image.dtype == torch.uint8 else image.double()
        return Colours()(scaled, ["colours"])["colours"].mean((2, 3))


def test_kid_equals_its_formula_and_torchmetrics() -> None:
    restored, target = sets(25)
    metric = Kid(features=Colours(), layer="colours", resize=None)
    metric.update(restored, target)
    assert metric.compute() == pytest.approx(kid_by_loops(vectors(restored), vectors(target)), rel=1e-5)
    with torch.random.fork_rng():
        theirs = KernelInceptionDistance(feature=_Flat(), subsets=1, subset_size=25, normalize=True)
        theirs.update(restored, real=False)
        theirs.update(target, real=True)
        assert metric.compute() == pytest.approx(float(theirs.compute()[0]), rel=1e-3)


def test_sets_of_other_numbers_and_sizes() -> None:
    restored, target = sets(40)[0][:, :, :6, :5], sets(25, seed=1)[1]
    fid, kid = (metric(features=Colours(), layer="colours", resize=None) for metric in (Fid, Kid))
    for metric in (fid, kid):
        metric.update(restored[:30], target[:20])
        metric.update(restored[30:], target[:0])
        metric.update(restored[:0], target[20:])
        assert "40 restored and 25 target samples, 95% interval" in metric.definition
        assert "(20 random halves of each set, seed 0)" in metric.definition
    assert kid.compute() == pytest.approx(kid_by_loops(vectors(restored), vectors(target)), rel=1e-5)
    theirs = FrechetInceptionDistance(feature=_Flat(), normalize=True, input_img_size=(3, 8, 8)).set_dtype(torch.float64)
    theirs.update(restored, real=False)
    theirs.update(target, real=True)
    assert fid.compute() == pytest.approx(float(theirs.compute()), rel=1e-3)


def test_a_set_that_is_smaller_than_the_subsets_is_taken_whole() -> None:
    restored, target = sets(60)[0], sets(25, seed=1)[1]
    metric = Kid(features=Colours(), layer="colours", resize=None, subsets=200, subset_size=40)
    metric.update(restored, target[:0])
    metric.update(restored[:0], target)
    assert metric.compute() == pytest.approx(kid_by_loops(vectors(restored), vectors(target)), rel=0.03)


def test_fid_says_that_there_are_too_few_pictures() -> None:
    for n, few in ((9, True), (10, False)):
        for metric in (Fid, Kid):
            built = metric(features=Colours(), layer="colours", resize=None)
            built.update(*sets(n))
            said = "no more pictures than the layer's 9 numbers: FID is biased, KID is not"
            assert (said in built.definition) == (few and metric is Fid)


def test_kid_of_large_sets_is_a_mean_over_subsets() -> None:
    restored, target = sets(120)
    state = torch.get_rng_state()
    scores = {}
    for seed in (0, 0, 1):
        metric = Kid(features=Colours(), layer="colours", resize=None, subsets=30, subset_size=40, seed=seed)
        metric.update(restored, target)
        assert metric.compute() == scores.setdefault(seed, metric.compute())
        assert "30 subsets of 40 (standard deviation " in metric.definition
    assert scores[0] != scores[1]
    whole = kid_by_loops(vectors(restored), vectors(target))
    assert scores[0] == pytest.approx(whole, rel=0.5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("metric", [Fid, Kid])
def test_equal_sets_score_next_to_nothing(metric: type[Fid | Kid]) -> None:
    _, target = sets(60)
    built = metric(features=Colours(), layer="colours", resize=None)
    built.update(target, target)
    assert abs(built.compute()) < 1e-2
    if metric is Fid:
        assert built.compute() == pytest.approx(0, abs=1e-9)


def test_the_size_of_the_pictures_is_part_of_the_definition() -> None:
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 70, 90, generator=rng)
    spec = {"part": "core/squeezenet", "weights": "random"}
    sizes = {}
    for resize in (64, 96, None):
        metric: Any = registry().create("set-metric", "core/fid", features=spec, layer="features.5", resize=resize)
        metric.update(image, image.flip(0) * 0.8)
        sizes[resize] = metric.compute()
        assert (f"{resize}×{resize}, bicubic with antialiasing" if resize else "as they are") in metric.definition
        assert metric.definition.startswith("SqueezeNet with weights random ")
    assert len(set(sizes.values())) == 3


def test_what_cannot_be_built_or_scored() -> None:
    spec = {"part": "core/squeezenet", "weights": "random"}
    with pytest.raises((UserError, ConfigError), match="no layer 'avgpool'"):
        registry().create("set-metric", "core/fid", features=spec)
    metric = Fid(features=Colours(), layer="colours", resize=None)
    restored, target = sets(2)
    with pytest.raises(ImageError, match="at least 2 pictures, this one has 0"):
        metric.compute()
    with pytest.raises(ImageError, match="pass target"):
        metric.update(restored)
    with pytest.raises(ImageError, match=r"expected images \(N, C, H, W\)"):
        metric.update(restored, target[0])
    metric.update(restored[:1], target[:1])
    with pytest.raises(ImageError, match="this one has 1"):
        metric.compute()
    metric.update(restored[:0], target)
    with pytest.raises(ImageError, match="at least 2 pictures of each, got 1 restored and 3 target"):
        metric.compute()


@pytest.mark.slow
def test_blur_moves_photographs_away_in_the_eyes_of_a_trained_network() -> None:
    if not (WEIGHTS.is_file() and PHOTOS.is_dir()):
        pytest.skip("needs ../shared/data/weights and ../shared/data/cbsd68")
    from restorekit import photos

    spec = {"part": "core/squeezenet", "weights": str(WEIGHTS)}
    scores: dict[str, list[float]] = {"core/fid": [], "core/kid": []}
    for size in (1, 3, 7):
        metrics: dict[str, SetMetric] = {
            name: registry().create("set-metric", name, features=spec, layer="features.12", resize=224) for name in scores
        }
        for path in photos.find([PHOTOS])[:24]:
            target = photos.read(path).image
            restored = torch.nn.functional.avg_pool2d(target, size, 1, size // 2, count_include_pad=False)
            for metric in metrics.values():
                metric.update(restored, target)
        for name, metric in metrics.items():
            scores[name].append(metric.compute())
    for values in scores.values():
        assert values[0] < values[1] < values[2]


def covered_by_loops(some: np.ndarray[Any, Any], among: np.ndarray[Any, Any], k: int) -> float:
    count = 0
    for x in some:
        for i, y in enumerate(among):
            others = sorted(float(np.linalg.norm(y - z)) for j, z in enumerate(among) if j != i)
            if np.linalg.norm(x - y) <= others[k - 1]:
                count += 1
                break
    return count / len(some)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_their_definition(k: int) -> None:
    restored, target = sets(40)
    restored = restored * 0.2 + 0.1
    found = {}
    for metric in (Precision, Recall):
        built = metric(features=Colours(), layer="colours", resize=None, neighbours=k)
        built.update(restored[:11], target[:11])
        built.update(restored[11:], target[11:])
        found[metric] = built.compute()
    rounded = restored.mul(255).round() / 255
    assert found[Precision] == covered_by_loops(vectors(rounded), vectors(target), k)
    assert found[Recall] == covered_by_loops(vectors(target), vectors(rounded), k)
    assert 0 < found[Precision] <= 1
    assert found[Precision] != found[Recall]


def test_pictures_that_are_there_several_times_change_neither_precision_nor_recall() -> None:
    restored, target = sets(40)
    for metric in (Precision, Recall):
        once, again = (metric(features=Colours(), layer="colours", resize=None) for _ in range(2))
        once.update(restored, target)
        for _ in range(5):
            again.update(restored, target)
        assert again.compute() == once.compute() > 0


def test_one_picture_again_and_again_is_precise_and_has_no_recall() -> None:
    _, target = sets(30)
    same = target[:1].expand(30, -1, -1, -1)
    scores = {}
    for metric in (Precision, Recall):
        built = metric(features=Colours(), layer="colours", resize=None)
        built.update(same, target)
        scores[metric] = built.compute()
    assert scores == {Precision: 1.0, Recall: pytest.approx(1 / 30)}


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    restored, _ = sets(12)
    metric = Diversity(features=Colours(), layer="colours", resize=None)
    metric.update(restored[:5])
    metric.update(restored[5:])
    assert metric.compute() == pytest.approx(float(scipy.spatial.distance.pdist(vectors(restored)).mean()), rel=1e-4)
    assert "12 samples" in metric.definition


@pytest.mark.parametrize(
    ("metric", "paired"), [(Fid, True), (Kid, True), (Precision, True), (Diversity, True), (Fid, False), (Kid, False), (Precision, False)]
)
def test_the_interval_is_about_that_of_other_samples(metric: type[Fid | Kid | Precision | Diversity], paired: bool) -> None:
    scores, deviations = [], []
    for seed in range(12):
        restored, target = sets(80, seed)
        restored = restored * 0.6
        built = metric(features=Colours(), layer="colours", resize=None)
        if paired:
            built.update(restored, target if built.needs_target else None)
        else:
            built.update(restored, target[:0])
            built.update(restored[:0], sets(40, seed + 100)[1])
        halves = "20 random halves" if paired else "20 random halves of each set"
        low, high = map(float, re.findall(rf"interval (\S+) to (\S+) \({halves}, seed 0\)", built.definition)[0])
        scores.append(built.compute())
        assert low <= scores[-1] <= high
        deviations.append(built._deviation())
    assert float(np.median(deviations)) == pytest.approx(float(np.std(scores)), rel=0.7)


def test_with_real_features_it_is_torchmetrics_score() -> None:
    if not (WEIGHTS.is_file() and PHOTOS.is_dir()):
        pytest.skip("needs ../shared/data/weights and ../shared/data/cbsd68")
    from restorekit import photos

    spec = {"part": "core/squeezenet", "weights": str(WEIGHTS)}
    network = registry().create("features", "core/squeezenet", weights=str(WEIGHTS))
    target = torch.cat([photos.read(path).image[..., :96, :96] for path in photos.find([PHOTOS])[:12]]).mul(255).round() / 255
    restored = target.flip(0).mul(0.8 * 255).round() / 255

    class Vectors(nn.Module):
        num_features = 512

        def forward(self, image: Tensor) -> Tensor:
            scaled = image.float() / 255 if image.dtype == torch.uint8 else image.float()
            return network(scaled, ["features.12"])["features.12"].mean((2, 3)).double()

    for name, theirs in (
        ("fid", FrechetInceptionDistance(feature=Vectors(), normalize=True, input_img_size=(3, 96, 96)).set_dtype(torch.float64)),
        ("kid", KernelInceptionDistance(feature=Vectors(), subsets=1, subset_size=12, normalize=True)),
    ):
        metric: SetMetric = registry().create("set-metric", f"core/{name}", features=spec, layer="features.12", resize=None)
        metric.update(restored, target)
        with torch.random.fork_rng():
            theirs.update(restored, real=False)
            theirs.update(target, real=True)
            found = theirs.compute()
        assert metric.compute() == pytest.approx(float(found[0] if name == "kid" else found), rel=1e-2)
