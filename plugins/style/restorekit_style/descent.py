"""Minimising an objective over the pixels: Adam or L-BFGS, watched, stopped early, the best picture kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from restorekit_style.objective import Objective

Watcher = Callable[[int, Mapping[str, float], Tensor], bool]
"""Told after each evaluation which it was, the terms and the picture; False stops."""

WINDOW = 10
"""Evaluations over which progress is measured for the tolerance."""

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
        learning_rate: of Adam, in units of the image range; it falls to a tenth by a cosine.
        tolerance: stop when ten evaluations improved the best total by less than this share; 0 does all steps.
        watcher: is told of every evaluation.
    """
    watched = _Watched(objective, steps, tolerance, watcher)
    image = start.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    try:
        (_adam if optimizer == "adam" else _lbfgs)(watched, image, steps, learning_rate)
    except _Stop:
        pass
    assert watched.best is not None
    return Outcome(watched.best.clamp(0, 1), watched.terms, len(watched.totals), watched.stopped)


def _adam(watched: _Watched, image: Tensor, steps: int, learning_rate: float) -> None:
    method = torch.optim.Adam([image], lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(method, steps, eta_min=learning_rate / 10)
    while True:
        _, image.grad = watched(image)
        method.step()
        schedule.step()
        with torch.no_grad():
            image.clamp_(0, 1)


def _lbfgs(watched: _Watched, image: Tensor, steps: int, learning_rate: float) -> None:
    while True:  # again from the best picture where a search along a line gave up
        method = torch.optim.LBFGS(
            [image],
            max_iter=steps,
            max_eval=2 * steps,
            history_size=HISTORY,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> float:
            total, image.grad = watched(image)
            return total

        before = len(watched.totals)
        method.step(closure)  # type: ignore[arg-type]
        if len(watched.totals) - before <= 2:
            return
