"""What is measured for the watch: outputs for a fixed set of inputs, and what the critic says while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from restorekit.engine.data import Batch
from restorekit.images import Degraded, SizeRule, finest
from restorekit.interfaces import Generator
from restorekit.interfaces.adversarial import Images

SIDE = 64
"""Height and width of the fixed inputs, where the network takes that."""

MOST = 8
"""Inputs in the fixed set, at most."""

SIGN = "sign of D(x)"
"""Mean sign of the critic's logits of real images: 1 where it calls all of them real."""

BLACK, WHITE = 1 / 255, 254 / 255
"""Outputs at or outside these are saturated."""


class FixedSet:
    """The same inputs at every look, and how far apart the generator's outputs for them are.

    Args:
        generator: as built, not wrapped.
        inputs: ``(N, C, H, W)`` or latent vectors ``(N, Z)``, N at least 2.
        autocast: makes the context in which the network runs.
        targets: what the outputs should be, or None where there is nothing to compare them with.
        losses: of the outputs, or None likewise.
        given: what the generator is conditioned on, labels ``(N,)`` or references, or None where it takes none.
    """

    def __init__(
        self,
        generator: Generator,
        inputs: Tensor,
        autocast: Callable[[], AbstractContextManager[object]],
        targets: Tensor | None = None,
        losses: Callable[[Tensor], Tensor] | None = None,
        given: Tensor | None = None,
    ) -> None:
        self.generator, self.inputs, self.autocast, self.targets, self.losses = generator, inputs, autocast, targets, losses
        self.given = given

    @torch.no_grad()
    def look(self, real: Tensor | None = None) -> dict[str, float]:
        """Look at the outputs as they would be used, in evaluation mode, so that batch norms learn nothing from the set.

        Args:
            real: images ``(N, C, H, W)`` to compare with where the set has no targets.

        Returns:
            ``diversity``, the mean absolute difference between two outputs; ``saturation``, their share of black and white;
            the same ``of real images``; ``loss on the fixed set``, where there are losses.
        """
        training = self.generator.training
        self.generator.eval()
        with self.autocast():
            given = () if self.given is None else (self.given,)
            made = self.generator.forward(self.inputs, *given)  # not called: a compiled network would be compiled again
        self.generator.train(training)
        outputs = finest(made).float()
        found = {"diversity": _diversity(outputs), "saturation": _saturation(outputs)}
        natural = real if self.targets is None else self.targets
        if natural is not None:
            found["diversity of real images"] = _diversity(natural[:MOST]).to(outputs.device)
            found["saturation of real images"] = _saturation(natural).to(outputs.device)
        if self.losses is not None:
            found["loss on the fixed set"] = self.losses(outputs)
        return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))


def _diversity(images: Tensor) -> Tensor:
    apart = torch.pdist(images.clamp(0, 1).flatten(1), p=1)
    return apart.sum() / max(1, len(apart)) / images[0].numel()


def _saturation(images: Tensor) -> Tensor:
    return ((images <= BLACK) | (images >= WHITE)).float().mean()


@torch.no_grad()
def alive(network: nn.Module) -> float:
    """The share of the weights whose gradient of the last step is not exactly zero."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    total = sum(gradient.numel() for gradient in gradients)
    return float(torch.stack([gradient.count_nonzero() for gradient in gradients]).sum()) / total if total else 1.0


def fixed_patches(pairs: Sequence[Batch], size: SizeRule, *, crop: int, pixels: int) -> Batch | None:
    """Patches from the corners of the held-out pictures, as few and small as a look may cost.

    Args:
        pairs: of the validation, each a batch of one.
        size: what the generator takes.
        crop: side of a training patch as the generator gets it.
        pixels: in a training batch; the patches have at most half as many in all, but there are two at least.

    Returns:
        The patches, or None where the pictures give fewer than two.
    """
    legal = math.ceil(max(SIDE, size.minimum) / size.multiple_of) * size.multiple_of
    height, width = size.fixed or (min(legal, crop), min(legal, crop))
    count = max(2, min(MOST, pixels // (2 * height * width)))
    large = [pair for pair in pairs if pair.degraded.image.shape[-2] >= height and pair.degraded.image.shape[-1] >= width]
    found = [_corner(pair, height, width, lower) for lower in (False, True) for pair in large][:count]
    if len(found) < 2:
        return None
    masks = [pair.degraded.mask for pair in found if pair.degraded.mask is not None]
    params = {}
    for name in found[0].degraded.params:
        values = [pair.degraded.params[name] for pair in found]
        if len({value.shape for value in values}) == 1:
            params[name] = torch.cat(values)
    references = [pair.degraded.reference for pair in found if pair.degraded.reference is not None]
    reference = torch.cat(references) if references else None
    degraded = Degraded(torch.cat([pair.degraded.image for pair in found]), torch.cat(masks) if masks else None, params, reference)
    labels = [pair.labels for pair in found if pair.labels is not None]
    return Batch(torch.cat([pair.sharp for pair in found]), degraded, torch.cat(labels) if labels else None)


def _corner(pair: Batch, height: int, width: int, lower: bool) -> Batch:
    """The upper left or lower right corner."""
    scale = pair.sharp.shape[-2] // pair.degraded.image.shape[-2]

    def cut(image: Tensor, times: int) -> Tensor:
        h, w = height * times, width * times
        return image[..., -h:, -w:] if lower else image[..., :h, :w]

    mask = None if pair.degraded.mask is None else cut(pair.degraded.mask, 1)
    degraded = Degraded(cut(pair.degraded.image, 1), mask, pair.degraded.params, pair.degraded.reference)
    return Batch(cut(pair.sharp, scale), degraded, pair.labels)


class Ear:
    """Hears the mean logits that a critic gives the images of the current step, at no cost.

    Args:
        critic: as the objective calls it.
        signs: whether the mean sign of the logits of real images is heard too.
    """

    def __init__(self, critic: nn.Module, *, signs: bool = False) -> None:
        self.signs = signs
        self.real: Images | None = None
        self.fake: Images | None = None
        self.heard: dict[str, Tensor] = {}
        critic.register_forward_hook(self._hear)

    def listen(self, real: Images, fake: Images) -> None:
        """These are the images from now on."""
        self.real, self.fake, self.heard = real, fake, {}

    def _hear(self, critic: nn.Module, given: tuple[object, ...], logits: tuple[Tensor, ...]) -> None:
        for name, images in (("D(x)", self.real), ("D(G(z))", self.fake)):
            if images is not None and given and given[0] is images:
                self.heard[name] = torch.stack([scale.detach().float().mean() for scale in logits]).mean()
                if self.signs and images is self.real:
                    each = torch.stack([scale.detach().float().flatten(1).mean(1) for scale in logits]).mean(0)
                    self.heard[SIGN] = each.sign().mean()
