"""Filling holes by looking for the latent vector whose picture fits what is around them.

Yeh et al., "Semantic image inpainting with deep generative models", CVPR 2017, arXiv:1607.07539.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

import restorekit as rk
from restorekit import UserError
from restorekit.images import Degraded, finest
from restorekit.interfaces import Critic, Iteration, Restorer
from restorekit_dcgan.blending import blended
from restorekit_dcgan.windows import Window, around, thick

WEIGHTS = "photos.safetensors"
"""Model that is searched where none is given."""

AT_ONCE = 256
"""Pictures that are searched at the same time."""

ON_PROCESSOR = 32
"""The same on a processor, where more take longer, since their maps leave its caches."""

REACH = 0.11
"""How far the neighbourhood reaches whose missing share is a pixel's importance, over the side of the picture: 7 of 64 pixels."""

CODES = 1024
"""Codes whose mean and deviation say what is usual."""


class Completion(Restorer):
    """Fills holes with what a trained generator makes.

    For each hole many latent vectors are moved at once, by gradient descent with momentum, until their pictures fit what is known
    around the hole, and the model's critic finds them real; the best one's gradients then fill the hole (Poisson blending), so that
    known pixels stay and no seam is left. The search keeps to codes that are usual for the generator. A generator with a mapping
    network, such as ``dcgan/style-generator``, is searched in its space W. A hole too large for the generator's pictures is filled
    at a smaller scale, and thin ones, which hide nothing that a model could know, are filled smoothly first. A grey generator
    gives colour pictures their light and dark; colours come in from around the hole.

    Args:
        model: model file of a generator that makes pictures from latent vectors; null takes the one that comes with this plugin,
            which was trained on patches of photographs (``weights/README.md``).
        restarts: latent vectors for each hole; the better half of them goes on after a quarter of the steps, and again after half.
        steps: of the search.
        rate: length of a step at first, in deviations of a code; it falls to nothing.
        momentum: share of the last step that the next one keeps.
        prior: weight of the critic's word beside the mean difference from what is known.
        clip: largest distance of a code's numbers from their mean, in deviations.
        share: largest part of the side of the generator's picture that a hole may take before it is reduced.
        thin: holes nowhere thicker than this share of the side of the generator's picture are filled by ``core/biharmonic-inpaint``.
        blend: fill in the gradients; false pastes the picture.
        label: class of the pictures, for a generator with classes; null tries each in turn.
        seed: of the latent vectors.

    Raises:
        UserError: no model file, or one of another kind of model.
        ImageError: no mask, or one that marks nothing or everything.
    """

    uses = frozenset({"mask"})
    iterative = True

    def __init__(
        self,
        *,
        model: Path | None = None,
        restarts: Annotated[int, Ge(1)] = 8,
        steps: Annotated[int, Ge(1)] = 100,
        rate: Annotated[float, Gt(0)] = 0.1,
        momentum: Annotated[float, Ge(0), Lt(1)] = 0.9,
        prior: Annotated[float, Ge(0)] = 0.003,
        clip: Annotated[float, Gt(0)] = 1.0,
        share: Annotated[float, Gt(0), Le(0.9)] = 0.6,
        thin: Annotated[float, Ge(0), Lt(1)] = 0.16,
        blend: bool = True,
        label: Annotated[int, Ge(0)] | None = None,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.model = rk.load(model or Path(str(files("restorekit_dcgan").joinpath("weights", WEIGHTS))))
        part = self.model.recipe.content["generator"]["part"]
        generator = self.model.generator
        if generator.consumes != "latent":
            raise UserError(
                f"{model}: {part} restores pictures and makes none from latent vectors, among which completion searches. "
                f"Train one that does: restorekit train dcgan/faces28"
            )
        if self.model.critic is None and prior:
            raise UserError(f"{model}: holds no critic, whose word completion listens to; go without it: --set prior=0")
        if label is not None and label >= generator.classes:
            known = f"knows the classes 0 to {generator.classes - 1}" if generator.classes else "was trained without class labels"
            raise UserError(f"label: got {label}; {part} {known}")
        for network in (generator, self.model.critic):
            if network is not None:
                network.requires_grad_(False)
        self.restarts, self.steps, self.rate, self.momentum, self.prior = restarts, steps, rate, momentum, prior
        self.clip, self.share, self.thin, self.blend, self.label, self.seed = clip, share, thin, blend, label, seed
        self.smooth: Restorer = rk.registry().create("restorer", "core/biharmonic-inpaint")
        assert generator.size.fixed is not None  # latent generators have one size
        self.side = generator.size.fixed[0]

    def to(self, device: torch.device | str) -> Self:
        """Move the networks."""
        self.model.to(device)
        return self

    def restore(self, degraded: Degraded) -> Tensor:
        """The filled image, same shape; reads ``mask`` ``(N, 1, H, W)``, 1 where missing.

        Raises:
            ImageError: no mask, or one that marks nothing or everything.
            UserError: a hole with nothing left around it.
        """
        image = degraded.image
        holes = (degraded.need("mask")[:, 0] > 0.5).cpu().numpy()
        for number, hole in enumerate(holes):
            where = f"mask {number + 1}" if len(holes) > 1 else "the mask"
            if not hole.any():
                raise UserError(f"{where} marks nothing to fill: white (1) means missing")
            if hole.all():
                raise UserError(f"{where} leaves no pixel to go by: white (1) means missing, black (0) known")
        image, holes = self._thin_filled(image, holes)
        tasks = [(number, window) for number, hole in enumerate(holes) for window in around(hole, self.side, self.share)]
        pictures = self._search(image, holes, tasks) if tasks else []
        return torch.cat([self._filled(image, holes, tasks, pictures, number) for number in range(len(image))])

    def _thin_filled(self, image: Tensor, holes: Any) -> tuple[Tensor, Any]:
        """The images without their thin holes, and what is still missing ``(N, H, W)``."""
        left = np.stack([thick(hole, int(self.thin * self.side)) for hole in holes])
        filled = image.clone()
        for number in np.flatnonzero((holes & ~left).any((1, 2))):
            pixels = _pixels(image[number])
            # The thick holes are filled again below; until then their pixels must not show in what is beside them.
            pixels = blended(pixels, np.zeros_like(pixels), left[number])
            mask = torch.from_numpy(holes[number] & ~left[number])[None, None].float()
            filled[number] = self.smooth.restore(Degraded(torch.from_numpy(pixels).permute(2, 0, 1)[None].to(image), mask))[0]
        return filled, left

    def _search(self, image: Tensor, holes: Any, tasks: list[tuple[int, Window]]) -> list[Tensor]:
        """The best picture ``(C, side, side)`` for each window."""
        channels = self.model.generator.channels
        shown, known = [], []
        for number, window in tasks:
            piece = image[number][(slice(None), *window.place)].float()
            piece = piece.mean(0, keepdim=True).expand(channels, -1, -1) if channels == 1 else piece.expand(channels, -1, -1)
            there = torch.from_numpy(~holes[number][window.place]).to(image.device)[None].float()
            shown.append(_resized(piece * there, self.side) / _resized(there, self.side).clamp_min(1e-3))
            known.append((_resized(there, self.side) > 0.99).float())
        wanted, there = torch.stack(shown), torch.stack(known)
        some = max(1, (ON_PROCESSOR if image.device.type == "cpu" else AT_ONCE) // self.restarts)
        groups = [slice(start, start + some) for start in range(0, len(tasks), some)]
        # Without gradients until their turn comes, so that what is blended in is smooth.
        found = [torch.full((channels, self.side, self.side), 0.5, device=image.device)] * len(tasks)
        total = len(groups) * self.steps

        def so_far(group: slice, best: Callable[[], Tensor]) -> Tensor:
            """The first image while the windows of `group` are searched."""
            return self._filled(image, holes, tasks, [*found[: group.start], *best(), *found[group.stop :]], 0)

        for before, group in enumerate(groups):
            for step, (loss, best) in enumerate(self._descent(wanted[group], there[group]), before * self.steps + 1):
                if not self.report(Iteration(step, total, {"loss": loss}, partial(so_far, group, best))):
                    found[group] = best()
                    return found
            found[group] = best()
        return found

    def _descent(self, wanted: Tensor, known: Tensor) -> Iterator[tuple[float, Callable[[], Tensor]]]:
        """After each step the loss, the mean over windows of their best codes', and what makes their pictures ``(n, C, side, side)``."""
        generator, critic = self.model.generator, self.model.critic
        count, device = len(wanted), wanted.device
        given = self._labels(count * self.restarts, device)
        rng = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            few = torch.randn(CODES, generator.latent, generator=rng).to(device)
            usual = generator.code(few, self._labels(CODES, device))
            mean, deviation = usual.mean(0), usual.std(0)
            # The same for every window, so that a hole is filled the same whatever else there is to fill.
            codes = generator.code(torch.randn(self.restarts, generator.latent, generator=rng).to(device).repeat(count, 1), given)
        weight = _importance(known).repeat_interleave(self.restarts, 0)
        target = wanted.repeat_interleave(self.restarts, 0)
        speed = torch.zeros_like(codes)
        losses, left = torch.zeros(len(codes), device=device), self.restarts

        def best() -> Tensor:
            with torch.no_grad():
                least = _least(self._losses(codes, target, weight, given, critic), count, 1)
                made = generator.decode(codes[least], None if given is None else given[least])
            return finest(made).float().clamp(0, 1)

        for step in range(self.steps):
            if step and step in (self.steps // 4, self.steps // 2):
                left = math.ceil(left / 2)
                kept = _least(losses, count, left)
                codes, speed, weight, target = (values[kept] for values in (codes, speed, weight, target))
                given = None if given is None else given[kept]
            codes = codes.detach().requires_grad_()
            with torch.enable_grad():
                losses = self._losses(codes, target, weight, given, critic)
                (gradient,) = torch.autograd.grad(losses.sum(), codes)
            length = gradient.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)
            rate = self.rate * (1 + math.cos(math.pi * step / self.steps)) / 2
            speed = self.momentum * speed - (1 - self.momentum) * rate * deviation * gradient / length
            codes = torch.clamp(codes.detach() + speed, mean - self.clip * deviation, mean + self.clip * deviation)
            yield float(losses.detach().view(count, -1).amin(1).mean()), best

    def _losses(self, codes: Tensor, target: Tensor, weight: Tensor, given: Tensor | None, critic: Critic | None) -> Tensor:
        """For each code ``(n,)``: the weighted difference from what is known, and what the critic thinks of the picture."""
        made = finest(self.model.generator.decode(codes, given))
        losses: Tensor = (weight * (made - target).abs().mean(1, keepdim=True)).sum((1, 2, 3))
        if self.prior and critic is not None:
            scales = [F.softplus(-logits).flatten(1).mean(1) for logits in critic(made, given if critic.classes else None)]
            losses = losses + self.prior * torch.stack(scales).mean(0)
        return losses

    def _labels(self, count: int, device: torch.device) -> Tensor | None:
        classes = self.model.generator.classes
        if not classes:
            return None
        chosen = torch.arange(count) % self.restarts % classes if self.label is None else torch.full((count,), self.label)
        return chosen.to(device)

    def _filled(self, image: Tensor, holes: Any, tasks: list[tuple[int, Window]], pictures: list[Tensor], number: int) -> Tensor:
        """One of the images ``(1, C, H, W)`` with the pictures of its windows put in."""
        pixels, hole = _pixels(image[number]), holes[number]
        guide = pixels.copy()
        for window, picture in [(window, p) for (n, window), p in zip(tasks, pictures, strict=True) if n == number]:
            made = _pixels(_resized(picture, window.side).clamp(0, 1))
            if made.shape[2] > pixels.shape[2]:
                made = made.mean(2, keepdims=True)
            taken = window.own
            if self.blend:  # the differences to the pixels around the hole are the picture's own
                for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
                    taken = taken | (np.roll(window.own, by, axis) & ~hole[window.place])
            guide[window.place] = np.where(taken[:, :, None], made, guide[window.place])
        filled = blended(pixels, guide, hole) if self.blend else guide
        return torch.from_numpy(filled.clip(0, 1)).permute(2, 0, 1)[None].to(image)


def _least(losses: Tensor, holes: int, many: int) -> Tensor:
    """Where the `many` least losses of each hole are ``(holes * many,)``, in losses that stand hole after hole."""
    each = losses.view(holes, -1)
    first = torch.arange(holes, device=losses.device)[:, None] * each.shape[1]
    return (each.topk(many, largest=False).indices + first).flatten()


def _importance(known: Tensor) -> Tensor:
    """Weights of the known pixels ``(n, 1, h, w)``, summing to 1: the missing share of their neighbourhood.

    A window whose hole has no known pixel that near counts all of them alike.
    """
    reach = max(1, round(REACH * known.shape[-1]))
    missing = F.avg_pool2d(1 - known, 2 * reach + 1, 1, reach, count_include_pad=False)
    weight = known * missing
    total = weight.sum((1, 2, 3), keepdim=True)
    weight = torch.where(total > 0, weight, known)
    return weight / weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-12)


def _pixels(image: Tensor) -> Any:
    """``(h, w, C)`` doubles of ``(C, h, w)``."""
    return image.permute(1, 2, 0).double().cpu().numpy()


def _resized(image: Tensor, side: int) -> Tensor:
    """``(C, side, side)`` of ``(C, h, w)``."""
    if image.shape[-2:] == (side, side):
        return image
    return F.interpolate(image[None], (side, side), mode="bilinear", antialias=True, align_corners=False)[0]


def example(folder: Path) -> dict[str, Any]:
    """Options with a tiny model, for the conformance checks."""
    recipe = rk.recipe(
        {
            "recipe": 1,
            "generator": {"part": "dcgan/generator", "size": 28, "width": 2, "latent": 8},
            "critic": {"part": "dcgan/critic", "size": 28, "width": 2},
            "adversarial": "core/non-saturating",
        }
    ).check()
    registry = rk.registry()
    networks = {
        kind: registry.create(kind, f"dcgan/{kind}", **{k: v for k, v in recipe.content[kind].items() if k not in ("part", "weight")})
        for kind in ("generator", "critic")
    }
    model = rk.Model(networks["generator"].eval(), recipe, networks["critic"].eval())
    return {"model": str(model.save(folder / "tiny.safetensors")), "restarts": 2, "steps": 3, "prior": 0.1}
