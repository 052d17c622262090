"""Degradations made of others: in sequence, in random order, one of several, and for some of the images only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from restorekit.builtin.psf import compose
from restorekit.images import Degraded
from restorekit.interfaces import Degradation


@dataclass(frozen=True)
class _Step:
    """A degradation of a sequence and the names that its parameters have there."""

    degradation: Degradation
    names: Mapping[str, str]


def _named(steps: tuple[Degradation, ...]) -> tuple[list[_Step], tuple[str, ...]]:
    """The steps with names for their parameters, and the names of the PSFs on the grid of the result, where there are several.

    Raises:
        ValueError: no steps.
    """
    if not steps:
        raise ValueError("steps: give at least one degradation")
    blurs: list[int] = []  # steps whose PSF lives on the pixel grid of the result
    for i, step in enumerate(steps):
        blurs = [*(blurs if step.scale == 1 else []), *([i] if "psf" in step.params else [])]
    named: list[_Step] = []
    taken: set[str] = set()
    numbered: list[str] = []
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
        named.append(_Step(step, names))
    return named, tuple(numbered)


def _names(steps: list[_Step], blurs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for step in steps for name in step.names.values()) + (("psf",) if blurs else ())


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
        self._steps, self._blurs = _named(steps)
        self.scale, self.margin, self.spread = 1, 0, 0
        for step in steps:
            if self.margin:
                self.margin = -(-self.margin // step.scale) + step.spread
            else:
                self.spread = -(-self.spread // step.scale) + step.spread
            self.margin += step.margin
            self.scale *= step.scale
        self.params = _names(self._steps, self._blurs)

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


class RandomOrder(Degradation):
    """Several degradations, all of them, in an order drawn anew for each image.

    Parameters are named as in `core/sequence`, and masks united; ``order`` ``(N, K)`` says for each place in the
    order which step comes there, from 0.

    Args:
        steps: the degradations; none may change the size.
    """

    def __init__(self, *, steps: tuple[Degradation, ...]) -> None:
        self._steps, self._blurs = _named(steps)
        for i, step in enumerate(steps):
            _same_size(step, f"steps.{i}")
        self.margin, self.spread = sum(step.margin for step in steps), sum(step.spread for step in steps)
        if self.margin:
            self.margin, self.spread = self.margin + self.spread, 0  # what spreads may come last
        names = _names(self._steps, self._blurs)
        self._order = _unused("order", names)
        self.params = (*names, self._order)

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of every step, and the orders."""
        found: dict[str, Tensor] = {}
        for step in self._steps:
            found.update({step.names[name]: value for name, value in step.degradation.sample(n, shape, rng).items()})
        if self._blurs:
            found["psf"] = compose([found[name] for name in self._blurs])
        found[self._order] = torch.rand(n, len(self._steps), generator=rng).argsort(dim=1)
        return found

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Apply the steps to each image in its order, to all that have the same step next at once."""
        mask: Tensor | None = None
        reference: Tensor | None = None
        image = image.clone()
        for following in params[self._order].cpu().unbind(dim=1):
            for i, step in enumerate(self._steps):
                chosen = (following == i).nonzero()[:, 0]
                if not len(chosen):
                    continue
                result = _part(step.degradation, image, {name: params[given] for name, given in step.names.items()}, chosen)
                image[chosen] = result.image
                if result.mask is not None:
                    earlier = torch.zeros_like(result.mask) if mask is None else mask[chosen]
                    mask = _replaced(mask, torch.maximum(earlier, result.mask), chosen, len(image))
                if result.reference is not None:
                    reference = _replaced(reference, result.reference, chosen, len(image))
        return Degraded(image, mask, {name: params[name].to(image.device) for name in self.params}, reference)


class OneOf(Degradation):
    """One of several degradations for each image, drawn by weight: different cameras, say, or different accidents.

    Parameters get the number of their choice, from 0, in front, and are recorded as drawn for all images; ``choice``
    ``(N,)`` says which holds. Where every choice has a ``psf``, that of the choice is recorded under this name.

    Args:
        choices: the degradations; none may change the size.
        weights: how often each is chosen, relative to each other; equally often if null.
    """

    def __init__(
        self, *, choices: tuple[Degradation, ...], weights: tuple[Annotated[float, Interval(ge=0, le=1e6)], ...] | None = None
    ) -> None:
        if not choices:
            raise ValueError("choices: give at least one degradation")
        for i, choice in enumerate(choices):
            _same_size(choice, f"choices.{i}")
        given = weights if weights is not None else (1.0,) * len(choices)
        if len(given) != len(choices):
            raise ValueError(f"weights: {len(given)} for {len(choices)} choices; give one for each")
        if not sum(given):
            raise ValueError("weights: all are 0; give at least one choice a weight above 0")
        self._choices = [_Step(one, {name: f"{i}.{name}" for name in one.params}) for i, one in enumerate(choices)]
        self._weights = torch.tensor(given)
        self.margin, self.spread = max(one.margin for one in choices), max(one.spread for one in choices)
        if self.margin:
            self.margin, self.spread = max(one.margin + one.spread for one in choices), 0
        self._blurs = all("psf" in one.params for one in choices)
        names = tuple(name for step in self._choices for name in step.names.values())
        self.params = (*names, "choice", *(("psf",) if self._blurs else ()))

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of every choice for all images, and the choice."""
        drawn = [step.degradation.sample(n, shape, rng) for step in self._choices]
        chosen = torch.multinomial(self._weights, n, replacement=True, generator=rng)
        found = {step.names[name]: value for step, values in zip(self._choices, drawn, strict=True) for name, value in values.items()}
        found["choice"] = chosen
        if self._blurs:
            side = max(size for values in drawn for size in values["psf"].shape[1:])
            found["psf"] = torch.stack([_widened(values["psf"], side) for values in drawn])[chosen, torch.arange(n)]
        return found

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Degrade each image as was chosen for it."""
        mask: Tensor | None = None
        reference: Tensor | None = None
        image = image.clone()
        choice = params["choice"].cpu()
        for i, step in enumerate(self._choices):
            chosen = (choice == i).nonzero()[:, 0]
            if not len(chosen):
                continue
            result = _part(step.degradation, image, {name: params[given] for name, given in step.names.items()}, chosen)
            image[chosen] = result.image
            if result.mask is not None:
                mask = _replaced(mask, result.mask, chosen, len(image))
            if result.reference is not None:
                reference = _replaced(reference, result.reference, chosen, len(image))
        return Degraded(image, mask, {name: params[name].to(image.device) for name in self.params}, reference)


def _widened(psf: Tensor, side: int) -> Tensor:
    """`psf` ``(N, h, w)``, odd sizes, with zeros around it, ``(N, side, side)``."""
    high, wide = ((side - size) // 2 for size in psf.shape[1:])
    return F.pad(psf, (wide, wide, high, high))


class Sometimes(Degradation):
    """A degradation of some of the images, drawn one by one; the others stay as they are.

    Records what the degradation does, and ``applied`` ``(N,)``, 1 where it was. Elsewhere ``psf`` is a single point
    and ``sigma`` 0; other parameters are recorded as they were drawn.

    Args:
        degradation: what may be done; it may not change the size.
        probability: that it is.
    """

    def __init__(self, *, degradation: Degradation, probability: Annotated[float, Interval(ge=0, le=1)] = 0.5) -> None:
        _same_size(degradation, "degradation")
        self._degradation = degradation
        self.probability = probability
        self.margin, self.spread = degradation.margin, degradation.spread
        self._applied = _unused("applied", degradation.params)
        self.params = (*degradation.params, self._applied)

    def sample(self, n: int, shape: tuple[int, int, int], rng: torch.Generator) -> dict[str, Tensor]:
        """Draw the degradation's parameters for all images, and which of them get it."""
        found = self._degradation.sample(n, shape, rng)
        applied = torch.rand(n, generator=rng) < self.probability
        for name, value in found.items():
            flags = applied.view(-1, *(1,) * (value.ndim - 1))
            match name.rpartition(".")[2]:
                case "psf":
                    point = torch.zeros_like(value)
                    point[:, value.shape[-2] // 2, value.shape[-1] // 2] = 1
                    found[name] = torch.where(flags, value, point)
                case "sigma":
                    found[name] = torch.where(flags, value, 0)
        return {**found, self._applied: applied.float()}

    def apply(self, image: Tensor, params: Mapping[str, Tensor]) -> Degraded:
        """Degrade the images that were chosen."""
        recorded = {name: params[name].to(image.device) for name in self.params}
        chosen = params[self._applied].cpu().nonzero()[:, 0]
        count, n = len(chosen), len(image)
        # where there are none, the first image tells whether there would be a mask
        result = _part(self._degradation, image, params, chosen if count else torch.tensor([0]))
        image = image.clone()
        image[chosen] = result.image[:count]
        mask = None if result.mask is None else _replaced(None, result.mask[:count], chosen, n)
        reference = None if result.reference is None else _replaced(None, result.reference[:count], chosen, n)
        return Degraded(image, mask, recorded, reference)


def _same_size(degradation: Degradation, where: str) -> None:
    if degradation.scale != 1:
        raise ValueError(f"{where}: divides the size by {degradation.scale}, and only some images would be smaller; use core/sequence")


def _unused(name: str, names: tuple[str, ...]) -> str:
    """`name`, with zeros and dots in front where it is taken."""
    while name in names:
        name = f"0.{name}"
    return name


def _part(degradation: Degradation, image: Tensor, params: Mapping[str, Tensor], chosen: Tensor) -> Degraded:
    """What a degradation makes of some of the images."""
    return degradation.apply(image[chosen], {name: params[name][chosen] for name in degradation.params})


def _replaced(whole: Tensor | None, part: Tensor, chosen: Tensor, n: int) -> Tensor:
    """`whole`, for `n` images and zero to begin with, with the rows of the images chosen replaced by those of `part`."""
    whole = part.new_zeros(n, *part.shape[1:]) if whole is None else whole
    whole[chosen] = part
    return whole
