"""One pass of a feature network per image, however many losses read from it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from restorekit import config
from restorekit.interfaces import Features, Loss

if TYPE_CHECKING:
    from restorekit.registries import Registry


class SharedFeatures(Features):
    """Remembers the maps of the images of the current step.

    Layers asked for once are computed on the first pass of every later step, so that from the second
    step on each image goes through the network once.

    Args:
        inner: the network.
    """

    def __init__(self, inner: Features) -> None:
        super().__init__()
        self.inner = inner
        self.layers, self.weights, self.seed = inner.layers, inner.weights, inner.seed
        self._wanted: set[str] = set()
        self._seen: dict[tuple[int, int, bool], tuple[Tensor, dict[str, Tensor]]] = {}

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """As the network itself."""
        # The version counts changes in place; the image is kept so that its id stays its own. Maps made
        # without gradients must not serve a caller who needs them.
        gradients = torch.is_grad_enabled() and image.requires_grad
        key = (id(image), image._version, gradients)
        if key not in self._seen or any(layer not in self._seen[key][1] for layer in layers):
            self._wanted |= set(layers)
            with torch.set_grad_enabled(gradients):
                self._seen[key] = (image, self.inner(image, sorted(self._wanted)))
        maps = self._seen[key][1]
        return {layer: maps[layer] for layer in layers}

    def clear(self) -> None:
        """Forget the images of the last step."""
        self._seen.clear()


def build_losses(specs: Sequence[Mapping[str, Any]], *, registry: Registry) -> tuple[list[Loss], list[SharedFeatures]]:
    """Build a recipe's losses so that equal feature networks are one network.

    Args:
        specs: checked specifications, without weights.
        registry: where parts are looked up.

    Returns:
        The losses, and the shared networks, to be cleared after every step.
    """
    shared: dict[str, SharedFeatures] = {}
    losses = []
    for i, spec in enumerate(specs):
        options = copy.copy(dict(spec))
        target = registry.find("loss", options["part"]).load()
        for name, option in config.options_of(target).items():
            value = options[name]
            if option.slot is not None and option.slot.kind == "features" and isinstance(value, Mapping):
                key = json.dumps(value, sort_keys=True)
                if key not in shared:
                    where = f"losses.{i}.{name}"
                    shared[key] = SharedFeatures(config.build_spec("features", value, registry=registry, where=where))
                options[name] = shared[key]
        losses.append(config.build_spec("loss", options, registry=registry, where=f"losses.{i}"))
    return losses, list(shared.values())
