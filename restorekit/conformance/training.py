"""Checks of losses and adversarial objectives."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from restorekit.conformance.probes import TinyCritic, degraded, photo
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.images import Degraded
from restorekit.interfaces import Adversarial, Loss


def _triple() -> tuple[Tensor, Tensor, Degraded]:
    given = degraded()
    return 1.1 * given.image - 0.05, photo(2, 48, 64), given


def is_a_finite_scalar(subject: Subject) -> None:
    """One finite number, for results that overshoot and for equal images too."""
    loss: Loss = subject.build()
    restored, target, given = _triple()
    for first in (restored, target, torch.zeros_like(target)):
        value = loss(first, target, given)
        if not isinstance(value, Tensor) or value.shape != ():
            raise Failed(f"{tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}", "end in .mean()")
        if not value.isfinite():
            raise Failed(f"{float(value)}", "look for divisions, roots or logarithms of zero")


def gradient_is_finite(subject: Subject) -> None:
    """The result gets a gradient: finite everywhere, also at equality, and not zero for damaged images."""
    loss: Loss = subject.build()
    restored, target, given = _triple()
    for first, name in ((restored, "damaged images"), (target, "equal images"), (torch.full_like(target, 0.5), "a constant image")):
        result = first.clone().requires_grad_()
        value = loss(result, target, given)
        if not value.requires_grad:
            raise Failed("no gradient at all", "remove detach(), no_grad() and rounding")
        (gradient,) = torch.autograd.grad(value, result)
        if not gradient.isfinite().all():
            raise Failed(f"not finite for {name}", "add a small constant under roots")
        if first is restored and not gradient.any():
            raise Failed("zero for damaged images", "look for rounding or clamping on the way")


def is_the_mean_over_the_batch(subject: Subject) -> None:
    """The loss of a batch is the mean of the losses of its images."""
    loss: Loss = subject.build()
    restored, target, given = _triple()
    with torch.no_grad():
        together = float(loss(restored, target, given))
        alone = [float(loss(restored[i : i + 1], target[i : i + 1], _one(given, i))) for i in range(len(restored))]
    expected = sum(alone) / len(alone)
    if not math.isclose(together, expected, rel_tol=1e-3, abs_tol=1e-6):
        raise Failed(f"{together:.6g}; the images alone give {alone}, mean {expected:.6g}", "take the mean over the batch, not the sum")


def _one(given: Degraded, i: int) -> Degraded:
    pick = slice(i, i + 1)
    return Degraded(
        given.image[pick],
        None if given.mask is None else given.mask[pick],
        {name: value[pick] for name, value in given.params.items()},
        None if given.reference is None else given.reference[pick],
        tuple(reference[pick] for reference in given.references),
    )


def is_least_at_equality(subject: Subject) -> None:
    """A loss that needs the target is least where the result equals it."""
    loss: Loss = subject.build()
    if not loss.needs_target:
        raise Skipped("declares needs_target = False")
    restored, target, given = _triple()
    with torch.no_grad():
        least = float(loss(target, target, given))
        worse = {
            "noise": float(loss(target + 0.1 * torch.randn(target.shape), target, given)),
            "a little noise": float(loss(target + 0.01 * torch.randn(target.shape), target, given)),
            "blur": float(loss(restored, target, given)),
            "another brightness": float(loss(0.8 * target, target, given)),
        }
    for damage, value in worse.items():
        if not value > least - 1e-7 * abs(least):
            raise Failed(f"{least:.6g} at equality and {value:.6g} with {damage}", "check the sign, or set needs_target = False")
    if not max(worse.values()) > least:
        raise Failed(f"{least:.6g} whatever the result", "compare restored with target")


def target_is_not_read(subject: Subject) -> None:
    """A loss that does not need the target does not depend on it."""
    loss: Loss = subject.build()
    if loss.needs_target:
        raise Skipped("declares needs_target = True")
    restored, target, given = _triple()
    with torch.no_grad():
        first, second = loss(restored, target, given), loss(restored, 1 - target, given)
    if not torch.equal(first, second):
        raise Failed(f"{float(first):.6g} and {float(second):.6g} for different targets", "set needs_target = True")


def images_are_not_modified(subject: Subject) -> None:
    """The images are left as they were."""
    loss: Loss = subject.build()
    restored, target, given = _triple()
    before = [restored.clone(), target.clone(), given.image.clone()]
    with torch.no_grad():
        loss(restored, target, given)
    if any(not torch.equal(a, b) for a, b in zip((restored, target, given.image), before, strict=True)):
        raise Failed("forward changed its input", "avoid operations in place on the inputs")


LOSS: tuple[Check, ...] = (
    is_a_finite_scalar,
    gradient_is_finite,
    is_the_mean_over_the_batch,
    is_least_at_equality,
    target_is_not_read,
    images_are_not_modified,
)


class _Match:
    """A tiny generator and critic with one batch, as the training step holds them."""

    def __init__(self) -> None:
        self.generator = nn.Conv2d(3, 3, 3, padding=1)
        self.critic = TinyCritic()
        self.real = photo(2, 32, 32)
        self.made = self.generator(photo(2, 32, 32, name="input")).sigmoid()

    def gradients(self, network: nn.Module) -> list[str]:
        return [name for name, parameter in network.named_parameters() if parameter.grad is not None]


def terms_are_scalars(subject: Subject) -> None:
    """Both sides give named, finite scalars, for images and for tuples of images coarse to fine."""
    objective: Adversarial = subject.build()
    match = _Match()
    real, fake = match.real, match.made.detach()
    half = slice(None, None, 2)
    for pair in ((real, fake), ((real[..., half, half], real), (fake[..., half, half], fake))):
        for side in (objective.critic_terms, objective.generator_terms):
            _check_terms(side(match.critic, *pair), side.__name__)


def _check_terms(terms: Any, side: str) -> None:
    if not isinstance(terms, dict) or not terms or not all(isinstance(name, str) for name in terms):
        raise Failed(f"{side} returned {type(terms).__name__}", "return a dict of scalars by name")
    for name, value in terms.items():
        if not isinstance(value, Tensor) or value.shape != () or not value.isfinite():
            raise Failed(f"{side} returned {name}: {value!r}"[:200], "return finite scalars: average over the maps")


def _total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def critic_side_leaves_the_generator_alone(subject: Subject) -> None:
    """The critic's terms give every parameter of the critic a gradient, and nothing else one."""
    objective: Adversarial = subject.build()
    match = _Match()
    fake, real = match.made.detach(), match.real
    terms = objective.critic_terms(match.critic, real, fake)
    if match.gradients(match.critic) or match.gradients(match.generator):
        raise Failed("gradients were left before backward()", "use torch.autograd.grad inside an objective, never backward()")
    if fake.requires_grad or real.requires_grad:
        raise Failed("the images were made to require gradients", "detach and clone before requires_grad_()")
    _total(terms).backward()  # type: ignore[no-untyped-call]
    left = {name for name, _ in match.critic.named_parameters()} - set(match.gradients(match.critic))
    if left:
        raise Failed(f"no gradient for the critic's {', '.join(sorted(left))}", "use every map that the critic returns, real and fake")
    if match.gradients(match.generator):
        raise Failed("the generator got gradients", "hold nothing of the generator in the objective")


def generator_side_leaves_the_critic_alone(subject: Subject) -> None:
    """The generator's terms give the generator a gradient, and the frozen critic none."""
    objective: Adversarial = subject.build()
    match = _Match()
    match.critic.requires_grad_(False)
    _total(objective.generator_terms(match.critic, match.real, match.made)).backward()  # type: ignore[no-untyped-call]
    thawed = [name for name, parameter in match.critic.named_parameters() if parameter.requires_grad]
    if match.gradients(match.critic) or thawed:
        raise Failed("the critic got gradients, or is frozen no longer", "leave requires_grad of the critic's parameters as it is")
    if match.generator.weight.grad is None or not match.generator.weight.grad.any():
        raise Failed("the generator got no gradient", "judge `fake` itself, not a detached copy")


def game_has_the_right_direction(subject: Subject) -> None:
    """The critic learns to give real images larger logits, and the generator then raises those of its own."""
    objective: Adversarial = subject.build()
    match = _Match()
    real, fake = match.real, match.made.detach()
    weights = list(match.critic.parameters())
    for _ in range(20):
        gradients = torch.autograd.grad(_total(objective.critic_terms(match.critic, real, fake)), weights, allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    weight.sub_(0.01 * gradient.sign())
        objective.constrain(match.critic)
    with torch.no_grad():
        gaps = [float(a.mean() - b.mean()) for a, b in zip(match.critic(real), match.critic(fake), strict=True)]
    if not sum(gaps) > 0:
        raise Failed(f"after 20 steps real logits exceed fake ones by {sum(gaps):.3g}", "check the signs in critic_terms")
    match.critic.requires_grad_(False)
    moved = fake.clone().requires_grad_()
    (down,) = torch.autograd.grad(_total(objective.generator_terms(match.critic, real, moved)), moved)
    (up,) = torch.autograd.grad(_total({str(i): m.mean() for i, m in enumerate(match.critic(moved))}), moved)
    if not float((-down * up).sum()) > 0:
        raise Failed("the generator's step lowers the logits of its images", "check the signs in generator_terms")


def parts_of_a_batch_add_up(subject: Subject) -> None:
    """The terms of a batch are the means of those of its images, unless ``whole_batch`` says that they are not."""
    objective: Adversarial = subject.build()
    match = _Match()
    real, fake = match.real, match.made.detach() * torch.tensor([1.0, 0.3])[:, None, None, None]
    differing = []
    for side in (objective.critic_terms, objective.generator_terms):
        whole, again = ({name: float(v.detach()) for name, v in side(match.critic, real, fake).items()} for _ in range(2))
        if whole != again:
            raise Skipped("draws at random")
        parts = [side(match.critic, real[i : i + 1], fake[i : i + 1]) for i in range(len(real))]
        means = {name: sum(float(part[name].detach()) for part in parts) / len(parts) for name in whole}
        differing += [name for name, value in whole.items() if not math.isclose(value, means[name], rel_tol=1e-3, abs_tol=1e-6)]
    if differing and not objective.whole_batch:
        raise Failed(
            f"{', '.join(differing)} of a batch is not the mean over its images", "take means over images, or set whole_batch = True"
        )
    if objective.whole_batch and not differing:
        raise Failed("declares whole_batch = True, and the terms are means over images", "leave whole_batch out")


def objective_modifies_nothing(subject: Subject) -> None:
    """Neither the images nor the critic's weights change before ``constrain``."""
    objective: Adversarial = subject.build()
    match = _Match()
    real, fake = match.real.clone(), match.made.detach()
    before = [real.clone(), fake.clone(), *(p.detach().clone() for p in match.critic.parameters())]
    objective.critic_terms(match.critic, real, fake)
    objective.generator_terms(match.critic, real, fake)
    if any(not torch.equal(a, b) for a, b in zip((real, fake, *match.critic.parameters()), before, strict=True)):
        raise Failed("images or weights changed", "avoid operations in place; clip weights in constrain()")


ADVERSARIAL: tuple[Check, ...] = (
    terms_are_scalars,
    critic_side_leaves_the_generator_alone,
    generator_side_leaves_the_critic_alone,
    game_has_the_right_direction,
    parts_of_a_batch_add_up,
    objective_modifies_nothing,
)
