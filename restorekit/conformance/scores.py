"""Checks of metrics and of metrics over sets."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from restorekit import seeding
from restorekit.conformance.probes import photo
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.interfaces import Metric, SetMetric

NOISE = (0.02, 0.08, 0.25)


def _noisy(target: Tensor, sigma: float) -> Tensor:
    rng = seeding.generator("noise", tuple(target.shape))
    return (target + sigma * torch.randn(target.shape, generator=rng)).clamp(0, 1)


def _pair(metric: Any, n: int = 3, sigma: float = 0.08) -> tuple[Tensor, Tensor | None]:
    target = photo(n, 48, 64)
    # Each image has noise of its own strength, so that exchanged scores are noticed.
    restored = torch.cat([_noisy(target[i : i + 1], sigma * (i + 1) / n) for i in range(n)])
    return restored, target if metric.needs_target else None


def declares_what_it_means(subject: Subject) -> None:
    """The metric says which direction is better, whether it needs a target, its unit and its bounds."""
    metric: Metric | SetMetric = subject.build()
    faults = {
        "higher_is_better is not declared": not isinstance(getattr(metric, "higher_is_better", None), bool),
        f"needs_target is {metric.needs_target!r}": not isinstance(metric.needs_target, bool),
        f"unit is {metric.unit!r}": not isinstance(metric.unit, str),
        "paired is not declared": not isinstance(getattr(metric, "paired", True), bool),
        f"bounds are {metric.bounds!r}": len(metric.bounds) != 2 or not metric.bounds[0] < metric.bounds[1],
    }
    for seen, wrong in faults.items():
        if wrong:
            raise Failed(seen, "see restorekit.interfaces.Metric")


def one_score_per_image(subject: Subject) -> None:
    """Finite scores (N,) of damaged images, each the same alone as in a batch."""
    metric: Metric = subject.build()
    restored, target = _pair(metric)
    with torch.no_grad():
        scores = metric(restored, target)
        if not isinstance(scores, Tensor) or scores.shape != (3,) or not scores.is_floating_point() or not scores.isfinite().all():
            raise Failed(f"{scores!r}"[:200], "return finite floats of shape (N,), without a mean over the batch")
        alone = torch.cat([metric(restored[i : i + 1], None if target is None else target[i : i + 1]) for i in range(3)])
    if not torch.allclose(scores, alone, rtol=1e-4, atol=1e-5):
        raise Failed(f"{scores.tolist()} together, {alone.tolist()} alone", "pool nothing over the batch")


def order_does_not_matter(subject: Subject) -> None:
    """Exchanging images exchanges their scores."""
    metric: Metric = subject.build()
    restored, target = _pair(metric)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        first, second = metric(restored, target), metric(restored[order], None if target is None else target[order])
    if first.shape != (3,) or not torch.allclose(first[order], second, rtol=1e-4, atol=1e-5):
        raise Failed(f"{first.tolist()}, then {second.tolist()}", "score each image alone")


def direction_is_right(subject: Subject) -> None:
    """More noise scores worse, in the declared direction."""
    metric: Metric = subject.build()
    if not metric.needs_target:
        raise Skipped("without a target, noise need not be worse")
    target = photo(3, 48, 64)
    with torch.no_grad():
        scores = [float(metric(_noisy(target, sigma), target).mean()) for sigma in NOISE]
    if not all((a > b) if metric.higher_is_better else (a < b) for a, b in pairwise(scores)):
        raise Failed(f"{scores} for growing noise, higher_is_better = {metric.higher_is_better}", "check the sign or the declaration")


def scores_stay_within_bounds(subject: Subject) -> None:
    """Scores stay within the declared bounds, at equality and for opposite images too."""
    metric: Metric = subject.build()
    target = photo(3, 48, 64)
    low, high = metric.bounds
    for restored in (target, _noisy(target, 0.1), 1 - target, torch.zeros_like(target), torch.ones_like(target)):
        with torch.no_grad():
            scores = metric(restored, target if metric.needs_target else None)
        if not all(low <= float(score) <= high for score in scores):
            raise Failed(f"{scores.tolist()} outside [{low}, {high}]", "correct bounds, or look for NaN")


def images_are_not_modified(subject: Subject) -> None:
    """The images are left as they were."""
    metric: Metric = subject.build()
    restored, target = _pair(metric)
    before = restored.clone(), None if target is None else target.clone()
    with torch.no_grad():
        metric(restored, target)
    if not torch.equal(restored, before[0]) or (target is not None and before[1] is not None and not torch.equal(target, before[1])):
        raise Failed("forward changed its input", "avoid operations in place (clamp_, mul_) on the inputs")


METRIC: tuple[Check, ...] = (
    declares_what_it_means,
    one_score_per_image,
    order_does_not_matter,
    direction_is_right,
    scores_stay_within_bounds,
    images_are_not_modified,
)


def _of_set(metric: SetMetric, restored: Tensor, target: Tensor, batch: int) -> float:
    for start in range(0, len(restored), batch):
        pick = slice(start, start + batch)
        metric.update(restored[pick], target[pick] if metric.needs_target else None)
    value: float = metric.compute()
    return value


def one_score_for_the_set(subject: Subject) -> None:
    """One finite float within the bounds, the same whenever it is asked."""
    metric: SetMetric = subject.build()
    target = photo(8, 48, 64)
    value = _of_set(metric, _noisy(target, 0.1), target, 8)
    if not isinstance(value, float) or not math.isfinite(value) or not metric.bounds[0] <= value <= metric.bounds[1]:
        raise Failed(f"{value!r}, bounds {metric.bounds}", "return a float from compute()")
    if metric.compute() != value:
        raise Failed("computing it again gave another value", "leave the state alone in compute()")


def batches_do_not_matter(subject: Subject) -> None:
    """The same images in other batches, and in another order, give the same score."""
    target = photo(8, 48, 64)
    restored = _noisy(target, 0.1)
    whole = _of_set(subject.build(), restored, target, 8)
    split = _of_set(subject.build(), restored.flip(0), target.flip(0), 3)
    if not math.isclose(whole, split, rel_tol=1e-3, abs_tol=1e-4):
        raise Failed(f"{whole:.6g} in one batch, {split:.6g} in three", "add up over images, not over batches")


def set_direction_is_right(subject: Subject) -> None:
    """More noise scores worse, in the declared direction."""
    target = photo(8, 48, 64)
    metric: SetMetric = subject.build()
    if not metric.needs_target:
        raise Skipped("without a target, noise need not be worse")
    scores = [_of_set(subject.build(), _noisy(target, sigma), target, 8) for sigma in NOISE]
    if not all((a > b) if metric.higher_is_better else (a < b) for a, b in pairwise(scores)):
        raise Failed(f"{scores} for growing noise, higher_is_better = {metric.higher_is_better}", "check the sign or the declaration")


def sets_need_no_pairs(subject: Subject) -> None:
    """A score that declares paired = False takes sets of other numbers and sizes, together or one after the other."""
    together: SetMetric = subject.build()
    if together.paired or not together.needs_target:
        raise Skipped("each target belongs to an image, or there is none")
    target = photo(8, 48, 64)
    restored = _noisy(photo(6, 64, 48), 0.1)
    together.update(restored, target)
    apart: SetMetric = subject.build()
    apart.update(restored, target[:0])
    apart.update(restored[:0], target)
    scores = together.compute(), apart.compute()
    if not math.isclose(*scores, rel_tol=1e-3, abs_tol=1e-4):
        raise Failed(f"{scores[0]:.6g} together, {scores[1]:.6g} apart", "add images to each of the two sets by itself")


SET_METRIC: tuple[Check, ...] = (
    declares_what_it_means,
    one_score_for_the_set,
    batches_do_not_matter,
    set_direction_is_right,
    sets_need_no_pairs,
)
