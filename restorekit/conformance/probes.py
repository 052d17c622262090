"""Pictures to check with, and one way to exercise a part of each kind and keep what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restorekit import seeding
from restorekit.conformance.subject import Skipped
from restorekit.errors import UserError
from restorekit.images import Degraded, SizeRule, finest
from restorekit.interfaces import Critic, Generator

CRITIC_SIZES = (64, 32, 128, 16, 28, 256)


def photo(n: int, height: int, width: int, channels: int = 3, *, name: object = "") -> Tensor:
    """Images ``(n, channels, height, width)`` in [0, 1] with smooth areas, edges and a little texture."""
    rng = seeding.generator("photo", name, n, height, width, channels)
    coarse = torch.rand(n, channels, max(2, height // 8), max(2, width // 8), generator=rng)
    image = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    image[..., height // 4 : height // 2, width // 3 : 2 * width // 3] *= 0.5
    return (image + 0.05 * torch.randn(image.shape, generator=rng)).clamp(0, 1)


def legal_size(rule: SizeRule, wanted: int) -> tuple[int, int]:
    """The smallest square size that a rule allows and that is at least `wanted`; the fixed one where there is one."""
    if rule.fixed is not None:
        return rule.fixed
    side = -(-max(rule.minimum, wanted) // rule.multiple_of) * rule.multiple_of
    return side, side


def generator_input(generator: Generator, n: int, size: tuple[int, int] | None = None) -> Tensor:
    """Images of a legal size, or latent vectors."""
    if generator.consumes == "latent":
        return torch.randn(n, generator.latent, generator=seeding.generator("latent", n))
    return photo(n, *(size or legal_size(generator.size, 32)), generator.channels)


def labels(network: Generator | Critic, n: int) -> Tensor | None:
    """A class label ``(n,)`` for each image, a picture for each where it is guided by one, or None where the network takes neither."""
    if isinstance(network, Generator) and network.guided:
        return photo(n, 40, 56, name="reference")
    return torch.arange(n) % network.classes if network.classes else None


def critic_input(critic: Critic, n: int) -> tuple[Tensor, Tensor | None]:
    """Images of a size that the critic takes, and what a conditional one compares with; it is called once to try.

    Raises:
        Skipped: no size will do; ``logit-maps`` says so.
    """
    for size in CRITIC_SIZES:
        image = photo(n, size, size, critic.channels)
        given = photo(n, size, size, critic.channels, name="given") if critic.conditional else None
        if critic.classes:
            given = labels(critic, n)
        try:
            with torch.no_grad():
                critic(image, given)
        except (RuntimeError, ValueError, UserError):
            continue
        return image, given
    raise Skipped(f"the critic takes no square image of {', '.join(map(str, CRITIC_SIZES))} pixels: see logit-maps")


def degraded(n: int = 2, height: int = 48, width: int = 64) -> Degraded:
    """Colour images ``(n, 3, height, width)``, blurred, noisy and with a hole, with everything that may be known of them."""
    line = torch.arange(9, dtype=torch.float32) - 4
    psf = torch.exp(-(line[:, None] ** 2) / 2 - line[None] ** 2 / 8)
    psf = psf / psf.sum()
    sharp = photo(n, height, width)
    kernel = psf.expand(3, 1, 9, 9)
    image = F.conv2d(F.pad(sharp, (4, 4, 4, 4), mode="reflect"), kernel, groups=3)
    image = (image + 0.01 * torch.randn(image.shape, generator=seeding.generator("noise"))).clamp(0, 1)
    mask = torch.zeros(n, 1, height, width)
    mask[..., height // 2 : height // 2 + 8, width // 2 : width // 2 + 8] = 1
    params = {"psf": psf.expand(n, 9, 9).clone(), "sigma": torch.full((n,), 0.01)}
    return Degraded(image * (1 - mask), mask, params, photo(n, height, width, name="reference"), (photo(n, width, height, name="another"),))


def lively(network: nn.Module) -> nn.Module:
    """The network with noise added to its weights, so that branches that start at zero take part."""
    rng = seeding.generator("lively")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return network


class TinyCritic(Critic):
    """A critic with two scales, to play against; of a tuple of images it judges the first and the last."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1))
        self.coarse = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1))

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Two maps of logits."""
        return self.fine(finest(image)), self.coarse(image[0] if isinstance(image, tuple) else image)


def behaviour(kind: str, part: Any) -> Any:
    """What a part returns for the kit's inputs, always drawn alike: equal for parts that behave alike."""
    with seeding.seeded("behaviour"):
        return called(kind, part, inputs(kind, part))


def inputs(kind: str, part: Any) -> tuple[Any, ...]:
    """What `called` gives to a part: tensors, `Degraded` and modules, or None."""
    return _INPUTS[kind](part)


def called(kind: str, part: Any, given: tuple[Any, ...]) -> Mapping[str, Any]:
    """What a part returns for `inputs`, by name; ``training`` is what it returns in that mode, where there is one."""
    return _CALLS[kind](part, *given)


def _generator(part: Generator, x: Tensor, given: Tensor | None) -> Mapping[str, Any]:
    with torch.no_grad():
        made = {"image": part.eval()(x, given), "training": part.train()(x, given), "trained": part.eval()(x, given)}
    return {**made, "declared": (part.size, part.scale)}


def _critic(part: Critic, image: Tensor, given: Tensor | None) -> Mapping[str, Any]:
    with torch.no_grad():
        return {"logits": part.eval()(image, given), "training": part.train()(image, given), "trained": part.eval()(image, given)}


def _features(part: Any, image: Tensor) -> Mapping[str, Any]:
    return {"features": part(image, [part.layers[0], part.layers[-1]]), "declared": part.layers}


def _estimator(part: Any, image: Tensor) -> Mapping[str, Any]:
    return {"psf": part(image), "declared": part.size}


def _adversarial(part: Any, critic: Critic, real: Tensor, fake: Tensor) -> Mapping[str, Any]:
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(3)
    terms = part.critic_terms(critic, real, fake), part.generator_terms(critic, real, fake)
    part.constrain(critic)
    return {"terms": terms, "critic": critic.state_dict()}


def _loss(part: Any, given: Degraded, sharp: Tensor, near: Tensor) -> Mapping[str, Any]:
    with torch.no_grad():
        return {
            "far": part(given.image, sharp, given),
            "near": part(near, sharp, given),
            "out": part(1.5 * given.image - 0.2, sharp, given),
        }


def _degradation(part: Any, image: Tensor) -> Mapping[str, Any]:
    params = part.sample(4, (3, 48, 64), seeding.generator("behaviour"))
    done = part.apply(image, params)
    made = {"image": done.image, "mask": done.mask, "recorded": dict(done.params)}
    return {"drawn": params, **made, "declared": (part.margin, part.scale)}


def _metric(part: Any, image: Tensor, target: Tensor) -> Mapping[str, Any]:
    return {"scores": part(image, target if part.needs_target else None)}


def _set_metric(part: Any, images: Tensor, targets: Tensor) -> Mapping[str, Any]:
    part.update(images, targets if part.needs_target else None)
    return {"score": part.compute()}


def _restorer(part: Any, given: Degraded) -> Mapping[str, Any]:
    return {"image": part.restore(given)}


def _loss_inputs(part: Any) -> tuple[Any, ...]:
    sharp = photo(2, 48, 64)
    return degraded(), sharp, sharp + 0.003 * torch.randn(sharp.shape, generator=seeding.generator("near"))


_INPUTS: Mapping[str, Callable[[Any], tuple[Any, ...]]] = {
    "generator": lambda part: (generator_input(part, 2), labels(part, 2)),
    "critic": lambda part: critic_input(part, 2),
    "features": lambda _: (photo(1, 96, 96),),
    "estimator": lambda _: (photo(1, 96, 120),),
    "adversarial": lambda _: (TinyCritic(), photo(2, 32, 32), photo(2, 32, 32, name="fake")),
    "loss": _loss_inputs,
    "degradation": lambda _: (photo(4, 48, 64),),
    "metric": lambda _: (degraded().image, photo(2, 48, 64)),
    "set-metric": lambda _: (degraded(8).image, photo(8, 48, 64)),
    "restorer": lambda _: (degraded(),),
}

_CALLS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    "generator": _generator,
    "critic": _critic,
    "features": _features,
    "estimator": _estimator,
    "adversarial": _adversarial,
    "loss": _loss,
    "degradation": _degradation,
    "metric": _metric,
    "set-metric": _set_metric,
    "restorer": _restorer,
}
