"""Checks of generators and critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from restorekit import modelfile
from restorekit.conformance.locality import local_is_true, tiles_equal_the_whole, tiles_stay_near_the_whole
from restorekit.conformance.probes import critic_input, generator_input, labels, legal_size, lively, photo
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.errors import ImageError
from restorekit.images import SizeRule, finest
from restorekit.interfaces import Critic, Generator
from restorekit.recipes import Recipe

TOLERANCE = 1e-5
"""Largest difference that rounding may make."""


def _inputs(network: Any, n: int) -> tuple[Any, ...]:
    return critic_input(network, n) if isinstance(network, Critic) else (generator_input(network, n), labels(network, n))


def _outputs(made: Any) -> tuple[Tensor, ...]:
    return made if isinstance(made, tuple) else (made,)


def declarations_fit(subject: Subject) -> None:
    """What the generator declares of its input, sizes and scale makes sense together."""
    generator: Generator = subject.build()
    rule = generator.size
    faults = {
        f"consumes is {generator.consumes!r}": generator.consumes not in ("image", "latent"),
        f"channels is {generator.channels!r}": not generator.channels >= 1,
        f"scale is {generator.scale!r}": not isinstance(generator.scale, int) or generator.scale < 1,
        f"latent is {generator.latent!r} and consumes {generator.consumes!r}": (generator.latent > 0) != (generator.consumes == "latent"),
        "a latent generator whose size is not fixed": generator.consumes == "latent" and rule.fixed is None,
        f"size is {rule!r}": not isinstance(rule, SizeRule) or rule.minimum < 1 or rule.multiple_of < 1,
    }
    for seen, wrong in faults.items():
        if wrong:
            raise Failed(seen, "see restorekit.interfaces.Generator; set it on the class or in the constructor")


def shapes_hold(subject: Subject) -> None:
    """Images of minimum, larger and non-square legal sizes come out scaled, with the declared channels."""
    generator: Generator = subject.build()
    rule = generator.size
    if generator.consumes == "latent" or rule.fixed is not None:
        height, width = rule.fixed or (0, 0)
        factor = 1 if generator.consumes == "latent" else generator.scale
        for training in (False, True):
            seen = _shape_fault(generator.train(training), generator_input(generator, 2), (height * factor, width * factor))
            if seen:
                raise Failed(seen, "correct size, latent or channels, or the network")
        return
    step = rule.multiple_of
    least = legal_size(rule, 1)[0]
    for height, width in ((least, least), (least + step, least), (least + step, least + 3 * step), (least + 32 * step, least + 7 * step)):
        image, scaled = photo(2, height, width, generator.channels), (height * generator.scale, width * generator.scale)
        for training in (False, True):
            seen = _shape_fault(generator.train(training), image, scaled)
            if seen:
                right = _right_rule(generator)
                raise Failed(f"{width}×{height}: {seen}", f"size = {right}" if right else "correct size, scale or channels, or the network")


def _shape_fault(network: Generator, x: Tensor, size: tuple[int, int]) -> str:
    try:
        with torch.no_grad():
            made = network(x, labels(network, len(x)))
    except (RuntimeError, ValueError, ImageError) as fault:
        return f"{type(fault).__name__}: {' '.join(str(fault).split())[:200]}"
    if isinstance(made, tuple) and not network.training:
        return "a tuple of images in evaluation mode; one image is expected there"
    expected = (x.shape[0], network.channels, *size)
    if tuple(finest(made).shape) != expected:
        return f"shape {tuple(finest(made).shape)}; expected {expected}"
    heights = [image.shape[-2] for image in _outputs(made)]
    return "" if heights == sorted(heights) else f"heights {heights}; expected them coarse to fine"


def growth_is_state(subject: Subject) -> None:
    """A network that grows says so by its state, which does not change with its use, and judges or makes whole pictures at any stage."""
    network = subject.build().eval()
    base = Generator if isinstance(network, Generator) else Critic
    if type(network).grow is base.grow:
        raise Skipped("does not grow")
    grown = {name: value.clone() for name, value in network.state_dict().items()}
    inputs = _inputs(network, 2)
    whole = [tuple(image.shape) for image in _outputs(network(*inputs))]
    network.grow(0)
    young = {name: value.clone() for name, value in network.state_dict().items()}
    changed = [name for name in grown if not torch.equal(grown[name], young[name])]
    if not changed or any(young[name].is_floating_point() for name in changed):
        raise Failed(f"after grow(0) the state differs in {changed or 'nothing'}", "keep the stage as a buffer of integers")
    with torch.no_grad():
        small = _outputs(network(*inputs))
        again = subject.build().eval()
        again.load_state_dict(young)
        loaded = _outputs(again(*inputs))
    if [tuple(image.shape) for image in small] != whole:
        raise Failed(f"{[tuple(image.shape) for image in small]} when young; expected {whole}", "enlarge the picture in evaluation mode")
    if any(not torch.equal(a, b) for a, b in zip(small, loaded, strict=True)):
        raise Failed("a copy with the same state does something else", "take the stage from the buffer")


def _right_rule(generator: Generator) -> SizeRule | None:
    """The least demanding rule that would have been true, found by trying; None where there is none."""
    generator.eval()

    def works(height: int, width: int) -> bool:
        size = (height * generator.scale, width * generator.scale)
        return not _shape_fault(generator, photo(1, height, width, generator.channels), size)

    for step in (1, 2, 4, 8, 16, 32, 64):
        if not all(works(192 + a * step, 192 + b * step) for a, b in ((0, 1), (3, 1))):
            continue
        for least in range(step, 192 + step, step):
            if works(least, least) and works(least, least + step) and works(least + step, least + step):
                return SizeRule(minimum=least, multiple_of=step)
    return None


def outputs_are_finite(subject: Subject) -> None:
    """What comes out is finite, for photographs and for black and white."""
    network = subject.build()
    inputs = _inputs(network, 2)
    cases = [inputs]
    if getattr(network, "consumes", "image") == "image":
        cases += [(torch.full_like(inputs[0], level), *inputs[1:]) for level in (0.0, 1.0)]
    for training in (False, True):
        network.train(training)
        for case in cases:
            with torch.no_grad():
                made = _outputs(network(*case))
            if not all(torch.isfinite(image).all() for image in made):
                raise Failed("values that are not finite", "look for divisions, roots or logarithms of zero")


def every_parameter_gets_a_gradient(subject: Subject) -> None:
    """Every parameter takes part: a loss of the output has a gradient for it."""
    network = lively(subject.build()).train()
    _random_sum(network(*_inputs(network, 2))).backward()  # type: ignore[no-untyped-call]
    faults = {
        "no gradient for": [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None],
        "a gradient of zero for": [n for n, p in network.named_parameters() if p.grad is not None and not p.grad.any()],
        "a gradient that is not finite for": [
            n for n, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
        ],
    }
    for seen, names in faults.items():
        if names:
            raise Failed(f"{seen} {', '.join(names[:5])}", "remove parameters that forward does not use")


def _random_sum(made: Any) -> Tensor:
    terms = [(image * torch.randn(image.shape)).sum() for image in _outputs(made)]
    return torch.stack(terms).sum()


def gradient_reaches_the_image(subject: Subject) -> None:
    """The output has a gradient for the input, which the other side of the training needs."""
    network = lively(subject.build())
    image, *given = _inputs(network, 2)
    image.requires_grad_()
    _random_sum(network(image, *given)).backward()  # type: ignore[no-untyped-call]
    if image.grad is None or not image.grad.any() or not image.grad.isfinite().all():
        raise Failed("none, or one that is not finite", "remove detach(), no_grad() and rounding from forward")


def eval_is_deterministic(subject: Subject) -> None:
    """In evaluation mode the same input gives the same output."""
    network = lively(subject.build()).eval()
    inputs = _inputs(network, 2)
    with torch.no_grad():
        first, second = _outputs(network(*inputs)), _outputs(network(*inputs))
    if any(not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise Failed("two calls differ", "draw no random numbers in evaluation mode; use nn.Dropout, not F.dropout alone")


def eval_is_batch_independent(subject: Subject) -> None:
    """In evaluation mode an image's output does not depend on the others in the batch."""
    network = lively(subject.build()).eval()
    inputs = _inputs(network, 3)
    with torch.no_grad():
        together = _outputs(network(*inputs))
        alone = _outputs(network(*(None if value is None else value[1:2] for value in inputs)))
    worst = max(float((a[1:2] - b).abs().max()) / max(1.0, float(b.abs().max())) for a, b in zip(together, alone, strict=True))
    if not worst <= TOLERANCE * 10:
        raise Failed(f"differs by {worst:.2g}", "take statistics over each image, or running ones in evaluation mode")


def input_is_not_modified(subject: Subject) -> None:
    """The input is left as it was."""
    network = subject.build().eval()
    inputs = _inputs(network, 2)
    before = [None if value is None else value.clone() for value in inputs]
    with torch.no_grad():
        network(*inputs)
        network.train()(*inputs)
    for value, old in zip(inputs, before, strict=True):
        if value is not None and old is not None and not torch.equal(value, old):
            raise Failed("forward changed its input", "avoid operations in place (add_, clamp_, inplace=True) on the input")


def weights_round_trip(subject: Subject) -> None:
    """Saved to a model file and loaded again, the network gives exactly the same output."""
    network = lively(subject.build()).eval()
    inputs = _inputs(network, 2)
    again = _reloaded(subject, network).eval()
    with torch.no_grad():
        first, second = _outputs(network(*inputs)), _outputs(again(*inputs))
    if any(not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise Failed("the outputs differ", "register everything that is learnt or random as a parameter or buffer")


def _reloaded(subject: Subject, network: Any) -> nn.Module:
    spec = {"part": subject.name, **subject.plain()}
    path = subject.folder / "round-trip.safetensors"
    try:
        if isinstance(network, Generator):
            modelfile.Model(network, Recipe({"generator": spec})).save(path)
            return modelfile.load(path, registry=subject.registry).generator
        from safetensors.torch import load_file, save_file

        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
        again: nn.Module = subject.build()
        again.load_state_dict(load_file(path))
        return again
    except RuntimeError as fault:
        if "share" in str(fault):
            raise Failed(
                "two names share one tensor, which a model file cannot hold", "store it once and refer to it in forward"
            ) from fault
        raise


def logit_maps(subject: Subject) -> None:
    """A tuple of maps (N, 1, h, w), one per scale."""
    critic: Critic = subject.build()
    try:
        image, given = critic_input(critic, 2)
    except Skipped as none:
        raise Failed(str(none).partition(":")[0], "make the tiny example take 32×32 or 64×64, or correct channels") from none
    with torch.no_grad():
        maps = critic(image, given)
    if not isinstance(maps, tuple):
        raise Failed(f"{type(maps).__name__} instead of a tuple", "return (logits,)")
    for logits in maps:
        if logits.ndim != 4 or logits.shape[:2] != (2, 1):
            raise Failed(
                f"shape {tuple(logits.shape)}; expected (2, 1, h, w)", "end in one channel and keep the map: objectives average it"
            )


def logits_are_unbounded(subject: Subject) -> None:
    """Logits take both signs and exceed 1: there is no sigmoid at the end."""
    critic: Critic = subject.build()
    image, given = critic_input(critic, 2)
    low, high = float("inf"), float("-inf")
    with torch.no_grad():
        for seed in range(24):
            rng = torch.Generator().manual_seed(seed)
            for parameter in critic.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=rng))
            for logits in critic(image, given):
                low, high = min(low, float(logits.min())), max(high, float(logits.max()))
    if low >= 0 or high <= 1:
        raise Failed(f"values from {low:.3g} to {high:.3g} for random weights", "return logits: objectives apply the sigmoid themselves")


BOTH: tuple[Callable[[Subject], None], ...] = (
    outputs_are_finite,
    every_parameter_gets_a_gradient,
    gradient_reaches_the_image,
    eval_is_deterministic,
    eval_is_batch_independent,
    input_is_not_modified,
    weights_round_trip,
    growth_is_state,
)
GENERATOR: tuple[Check, ...] = (declarations_fit, shapes_hold, *BOTH, local_is_true, tiles_equal_the_whole, tiles_stay_near_the_whole)
CRITIC: tuple[Check, ...] = (logit_maps, logits_are_unbounded, *BOTH)
