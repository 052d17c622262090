"""Checks of feature networks."""

from __future__ import annotations

import torch

from restorekit import config
from restorekit.conformance.probes import photo
from restorekit.conformance.state import flatten
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.errors import UserError
from restorekit.interfaces import Features


def layers_are_declared(subject: Subject) -> None:
    """The network lists the names of its layers, and where its weights come from."""
    network: Features = subject.build()
    if not network.layers or not all(isinstance(name, str) for name in network.layers) or len(set(network.layers)) != len(network.layers):
        raise Failed(f"layers is {network.layers!r}", "set layers to a tuple of different names, shallow to deep")
    for name, kind in (("weights", str), ("seed", int)):
        if not isinstance(getattr(network, name, None), kind):
            raise Failed(f"{name} is {getattr(network, name, None)!r}", f"set self.{name} in the constructor")


def _ends(network: Features) -> list[str]:
    return [network.layers[0], network.layers[-1]]


def maps_are_as_asked(subject: Subject) -> None:
    """A map (N, C, H, W) for each layer asked for, and for no other, whatever else is asked."""
    network: Features = subject.build()
    layers = _ends(network)
    image = photo(2, 96, 96)
    with torch.no_grad():
        both, alone = network(image, layers), network(image, layers[:1])
    if set(both) != set(layers) or set(alone) != set(layers[:1]):
        raise Failed(f"asked for {layers}: {sorted(both)}; for {layers[:1]}: {sorted(alone)}", "return exactly the layers asked for")
    for name, value in both.items():
        if value.ndim != 4 or value.shape[0] != 2 or not value.isfinite().all():
            raise Failed(f"{name} has shape {tuple(value.shape)}, or values that are not finite", "return finite maps (N, C, H, W)")
    if not torch.allclose(both[layers[0]], alone[layers[0]], atol=1e-5):
        raise Failed(f"{layers[0]} depends on what else is asked", "copy maps before an operation in place changes them")


def unknown_layer_is_refused(subject: Subject) -> None:
    """A layer that the network does not have is a UserError that lists those it has."""
    network: Features = subject.build()
    try:
        network(photo(1, 96, 96), ["no-such-layer"])
    except UserError as fault:
        if not any(name in str(fault) for name in network.layers):
            raise Failed(f"the message lists no layer: {fault}", "list self.layers in the message") from fault
        return
    except Exception as fault:
        raise Failed(f"{type(fault).__name__}: {fault}", "raise restorekit.UserError") from fault
    raise Failed("it was accepted", "raise restorekit.UserError")


def weights_are_frozen(subject: Subject) -> None:
    """No parameter is trainable, and train() changes nothing."""
    network: Features = subject.build()
    trainable = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    if trainable:
        raise Failed(f"{', '.join(trainable[:3])} can be trained", "call requires_grad_(False) in the constructor")
    image, layers = photo(2, 96, 96), _ends(network)
    with torch.no_grad():
        before = network.eval()(image, layers)
        after = network.train()(image, layers)
    if any(not torch.equal(before[name], after[name]) for name in layers):
        raise Failed("the maps differ in training mode", "keep the inner network in evaluation mode: override train()")


def gradient_reaches_the_image(subject: Subject) -> None:
    """The maps have a gradient for the image."""
    network: Features = subject.build()
    image = photo(2, 96, 96).requires_grad_()
    made = network(image, network.layers[:1])[network.layers[0]]
    if not made.requires_grad:
        raise Failed("no gradient", "freeze the parameters, and do not run under no_grad()")
    (gradient,) = torch.autograd.grad(made.square().sum(), image)
    if not gradient.any() or not gradient.isfinite().all():
        raise Failed("a gradient of zero, or one that is not finite", "look for rounding or clamping on the way")


def random_weights_follow_the_seed(subject: Subject) -> None:
    """Random weights depend on the option seed alone, and building leaves the global random state as it was."""
    if subject.checked.get("weights") != "random" or "seed" not in config.options_of(subject.target):
        raise Skipped("the example has no options weights: random and seed")

    def built(seed: int, outside: int) -> dict[str, str]:
        torch.manual_seed(outside)
        state = torch.get_rng_state()
        made = config.build(subject.registered, {**subject.options, "seed": seed}, registry=subject.registry)
        if not torch.equal(state, torch.get_rng_state()):
            raise Failed("building it drew from torch's global random state", "initialise inside torch.random.fork_rng()")
        return flatten(dict(made.named_parameters()))

    first = built(0, 1)
    if first != built(0, 2):
        raise Failed("the same seed gave other weights", "seed inside the constructor")
    if first == built(1, 1):
        raise Failed("another seed gave the same weights", "use the option seed")


def image_is_not_modified(subject: Subject) -> None:
    """The image is left as it was."""
    network: Features = subject.build()
    image = photo(1, 96, 96)
    before = image.clone()
    with torch.no_grad():
        network(image, _ends(network))
    if not torch.equal(image, before):
        raise Failed("forward changed its input", "normalise into a new tensor")


FEATURES: tuple[Check, ...] = (
    layers_are_declared,
    maps_are_as_asked,
    unknown_layer_is_refused,
    weights_are_frozen,
    gradient_reaches_the_image,
    random_weights_follow_the_seed,
    image_is_not_modified,
)
