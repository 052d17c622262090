"""Degradations in sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit.builtin.psf import compose
from restorekit.images import Degraded
from restorekit.interfaces import Degradation


@dataclass(frozen=True)
class _Step:
    """A degradation of a sequence and the names that its parameters have there."""

    degradation: Degradation
    names: Mapping[str, str]


class Sequence(Degradation):
    """Several degradations, one after the other.

    Parameters keep their names; where an earlier step has the name already, the later one gets the
    number of its step, from 0, in front: ``1.sigma``. The name ``psf`` is kept for the blur on the
    pixel grid of the result: a PSF that a later step scales down is always numbered, and where several
    remain all of them are numbered and ``psf`` is their convolution (exact but for borders, clipping
    and what comes in between). Masks are united; one that is scaled down marks every pixel
    that a missing pixel falls in.

    Args:
        steps: the degradations in order.
    """

    def __init__(self, *, steps: tuple[Degradation, ...]) -> None:
        if not steps:
            raise ValueError("steps: give at least one degradation")
        self._steps: list[_Step] = []
        self.scale, self.margin = 1, 0
        blurs: list[int] = []  # steps whose PSF lives on the pixel grid of the result
        for i, step in enumerate(steps):
            self.margin = -(-self.margin // step.scale) + step.margin
            self.scale *= step.scale
            blurs = [*(blurs if step.scale == 1 else []), *([i] if "psf" in step.params else [])]
        taken: set[str] = set()
        numbered: list[str] = []  # PSFs on the result's grid, where there are several
        for i, step in enumerate(steps):
            names = {}
            for name in step.params:
                unique = f"{i}.psf" if name == "psf" and blurs != [i] else name
                while unique in taken:
                    unique = f"{i}.{unique}"
                names[name] = unique
                taken.add(unique)
                if name == "psf" and i in blurs and len(blurs) > 1:
                    numbered.append(unique)
            self._steps.append(_Step(step, names))
        self._blurs = tuple(numbered)
        self.params = tuple(name for step in self._steps for name in step.names.values()) + (("psf",) if numbered else ())

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of every step, for the shape that reaches it."""
        found: dict[str, Tensor] = {}
        channels, height, width = shape
        for step in self._steps:
            drawn = step.degradation.sample(n, (channels, height, width), rng)
            found.update({step.names[name]: value for name, value in drawn.items()})
            height, width = -(-height // step.degradation.scale), -(-width // step.degradation.scale)
        if self._blurs:
            found["psf"] = compose([found[name] for name in self._blurs])
        return found

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Apply the steps in order."""
        mask: Tensor | None = None
        reference: Tensor | None = None
        recorded: dict[str, Tensor] = {}
        for step in self._steps:
            result = step.degradation.apply(image, {name: params[given] for name, given in step.names.items()})
            image = result.image
            recorded.update({step.names[name]: value for name, value in result.params.items()})
            if mask is not None and step.degradation.scale > 1:
                mask = F.max_pool2d(mask, step.degradation.scale, ceil_mode=True)
            if result.mask is not None:
                mask = result.mask if mask is None else torch.maximum(mask, result.mask)
            reference = result.reference if result.reference is not None else reference
        if self._blurs:
            recorded["psf"] = params["psf"].to(image.device)
        return Degraded(image, mask, recorded, reference)
