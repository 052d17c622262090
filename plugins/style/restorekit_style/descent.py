"""Minimising an objective over the pixels: Adam or L-BFGS, watched, stopped early, the best picture kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit_style.objective import Objective

Watcher = Callable[[int, Mapping[str, float], Tensor], bool]
"""Told after each evaluation which it was, the terms and the picture; False stops."""

WINDOW = 10
"""Evaluations over which progress is measured for the tolerance."""

COARSE = 0.125
"""Learning rate of the coarser levels of the pyramid over that of the pixels."""

SMALLEST = 8
"""Shorter side in pixels of the coarsest level of the pyramid."""

FIRST = 0.01
"""Mean change of a pixel in the first step of L-BFGS."""

HISTORY = 20
"""Steps that L-BFGS remembers."""


@dataclass(frozen=True)
class Outcome:
    """The best picture, its terms, how many evaluations it took, and whether the watcher stopped it."""

    image: Tensor
    terms: dict[str, float]
    evaluations: int
    stopped: bool


class _Stop(Exception):  # noqa: N818 - no error
    pass


class _Watched:
    """Evaluates an objective and remembers the best of what it saw."""

    def __init__(self, objective: Objective, steps: int, tolerance: float, watcher: Watcher) -> None:
        self.objective, self.steps, self.tolerance, self.watcher = objective, steps, tolerance, watcher
        self.best: Tensor | None = None
        self.terms: dict[str, float] = {}
        self.totals: list[float] = []
        self.stopped = False

    def __call__(self, image: Tensor) -> tuple[float, Tensor]:
        """The total and its gradient.

        Raises:
            _Stop: enough.
        """
        terms, gradient = self.objective.value_and_gradient(image)
        total = terms["total"]
        self.totals.append(total)
        if self.best is None or total < self.terms["total"]:
            self.best, self.terms = self.objective.composed(image.detach()).clone(), terms
        if not self.watcher(len(self.totals), terms, image.detach()):
            self.stopped = True
            raise _Stop
        if len(self.totals) >= self.steps or self._settled():
            raise _Stop
        return total, gradient

    def _settled(self) -> bool:
        if not self.tolerance or len(self.totals) <= 2 * WINDOW:
            return False
        before, now = min(self.totals[:-WINDOW]), min(self.totals[-WINDOW:])
        return before - now < self.tolerance * abs(before)


def minimise(
    objective: Objective, start: Tensor, *, optimizer: str, steps: int, learning_rate: float, tolerance: float, watcher: Watcher
) -> Outcome:
    """Change the pixels of `start` so that the objective gets small.

    Args:
        objective: what is minimised.
        start: the picture ``(1, C, H, W)`` to begin with.
        optimizer: ``adam`` or ``lbfgs``.
        steps: evaluations of the objective at most.
        learning_rate: of Adam, in units of the image range.
        tolerance: stop when ten evaluations improved the best total by less than this share; 0 does all steps.
        watcher: is told of every evaluation.
    """
    watched = _Watched(objective, steps, tolerance, watcher)
    image = start.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    with contextlib.suppress(_Stop):
        (_adam if optimizer == "adam" else _lbfgs)(watched, image, steps, learning_rate)
    assert watched.best is not None
    return Outcome(watched.best.clamp(0, 1), watched.terms, len(watched.totals), watched.stopped)


def _adam(watched: _Watched, image: Tensor, steps: int, learning_rate: float) -> None:
    """Adam on the levels of a pyramid whose sum is the picture.

    Adam moves every variable by as much, whatever its gradient, so that on single pixels it is noise that moves first.
    Coarse levels carry areas and their colours along.
    """
    levels = [torch.zeros_like(image)] + [image.new_zeros(*image.shape[:2], *size) for size in _coarser(image.shape[-2:])]
    with torch.no_grad():
        levels[0].copy_(image)
    groups = [{"params": [level.requires_grad_()], "lr": learning_rate * (COARSE if i else 1)} for i, level in enumerate(levels)]
    method = torch.optim.Adam(groups)
    while True:
        whole = _sum(levels)
        _, gradient = watched(whole.detach())
        method.zero_grad()
        whole.backward(gradient)  # type: ignore[no-untyped-call]
        method.step()
        with torch.no_grad():
            whole = _sum(levels)
            levels[0].add_(whole.clamp(0, 1) - whole)


def _coarser(size: Sequence[int]) -> list[tuple[int, int]]:
    found = []
    height, width = size
    while min(height, width) >= 2 * SMALLEST:
        height, width = height // 2, width // 2
        found.append((height, width))
    return found


def _sum(levels: Sequence[Tensor]) -> Tensor:
    first, *others = levels
    above: Tensor | None = None
    for level in reversed(others):
        above = level if above is None else level + F.interpolate(above, level.shape[-2:], mode="bilinear")
    return first if above is None else first + F.interpolate(above, first.shape[-2:], mode="bilinear")


def _lbfgs(watched: _Watched, image: Tensor, steps: int, learning_rate: float) -> None:
    # torch's first step is as long as the gradient over its sum, far too short for half a million pixels, and the line search
    # spends evaluations on finding out. In these units it moves a pixel by `FIRST` on average; later steps do not depend on them.
    unit = FIRST * image.numel()
    scaled = (image.detach() / unit).requires_grad_()

    def closure() -> float:
        image = scaled.detach() * unit
        total, gradient = watched(image.clamp(0, 1))
        outwards = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
        scaled.grad = gradient.masked_fill_(outwards, 0) * unit
        return total

    before = -3
    while len(watched.totals) > before + 2:  # again, without its memory, where a search along a line gave up
        before = len(watched.totals)
        method = torch.optim.LBFGS(
            [scaled],
            max_iter=steps,
            max_eval=2 * steps,
            history_size=HISTORY,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )
        method.step(closure)  # type: ignore[no-untyped-call]
