"""A trained network as a restorer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import torch
from annotated_types import Ge
from torch import Tensor

from restorekit import modelfile
from restorekit.errors import UserError
from restorekit.images import Degraded
from restorekit.interfaces import Generator, Restorer
from restorekit.recipes import Recipe


class Network(Restorer):
    """Restores with a network: from a model file, or a generator given as a part.

    Args:
        file: model file.
        generator: a network instead of a file; without training it does not restore, so this is for
            generators built in Python.
        tile: side of the tiles, in pixels, in which larger images are restored; null takes the whole at once where
            memory has room for it, and else the largest tiles that it has room for.
        style: which of its styles or classes a network that has several makes, from 0.

    Raises:
        ValueError: neither or both are given.
        UserError: the file is no model file, or that of a network that restores nothing, or its plugin is missing.
    """

    model: modelfile.Model

    def __init__(
        self,
        *,
        file: Path | None = None,
        generator: Generator | None = None,
        tile: Annotated[int, Ge(16)] | None = None,
        style: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if (file is None) == (generator is None):
            raise ValueError("give file (a model file) or generator, one of the two")
        if file is not None:
            self.model = modelfile.load(file)
            if self.model.generator.consumes != "image":
                raise UserError(
                    f"{file}: {self.model.recipe.content['generator']['part']} makes pictures from latent vectors and restores none. "
                    f"To make some: restorekit sample {file} -n 64 -o grid.png"
                )
        elif generator is not None:
            self.model = modelfile.Model(generator.eval(), Recipe({"generator": {"part": type(generator).__name__}}))
        self.tile, self.style = tile, style
        network = self.model.generator
        if style and style >= network.classes:
            raise ValueError(
                f"style: got {style}; this network has {network.classes or 'no'} styles" + (", from 0" if network.classes else "")
            )
        self.uses = frozenset({"reference"}) if network.guided else frozenset()
        self.scale = network.scale
        self.tiled = network.size.fixed is None

    def restore(self, degraded: Degraded) -> Tensor:
        """The network's output for the image."""
        given: Tensor | None = None
        if self.model.generator.guided:
            given = degraded.need("reference")
            given = (given if given.shape[1] == 3 else given.expand(-1, 3, -1, -1)).expand(len(degraded.image), -1, -1, -1)
        elif self.model.generator.classes:
            given = torch.full((len(degraded.image),), self.style, device=degraded.image.device)
        return self.model.restore(degraded.image, tile=self.tile, given=given)

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self.model.to(device)
        return self


class Box(Generator):
    """A 3×3 box filter with one learnt factor: the smallest network there is, for checks and examples."""

    local = True

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """The filtered image, same shape."""
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return self.factor * torch.nn.functional.avg_pool2d(padded, 3, 1)


def example(folder: Path) -> dict[str, Any]:
    """Options with a tiny network, for the conformance checks."""
    return {"generator": Box()}
