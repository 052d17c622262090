"""Any checkpoint that spandrel recognises, as a restorer."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from annotated_types import Ge
from torch import Tensor

import restorekit
from restorekit.images import Degraded, SizeRule, pad_reflect
from restorekit.interfaces import Generator, Restorer

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor, MaskedImageModelDescriptor

TILE = 512
TASKS = {"SR": "super-resolution", "FaceSR": "face super-resolution", "Inpainting": "inpainting", "Restoration": "restoration"}
"""spandrel's purposes in words."""


class Checkpoint(Restorer):
    """Restores with a checkpoint of somebody else's network, whose architecture spandrel recognises by its tensors.

    The file is read without running anything in it; code is refused. Scale, channels and sizes are what spandrel
    says of the network. Networks that fill holes read the mask besides.

    Args:
        file: the checkpoint, such as ``NAFNet-GoPro-width64.pth``; PyTorch's format or safetensors.
        tile: side of the tiles, in pixels, in which larger images are restored; ``auto`` takes 512, or the whole image where
            spandrel advises against tiles (SwinIR and SCUNet among others, which then need much memory); null the whole image.

    Raises:
        MissingPackage: spandrel is not installed.
        UserError: the file is no checkpoint, or of no architecture that spandrel knows.
    """

    model: restorekit.Model

    def __init__(self, *, file: Path, tile: Annotated[int, Ge(16)] | Literal["auto"] | None = "auto") -> None:
        descriptor = _recognised(file)
        network = Network(descriptor)
        self.model = restorekit.Model(
            network.eval(),
            restorekit.Recipe(
                {"recipe": 1, "task": TASKS.get(descriptor.purpose, descriptor.purpose), "generator": {"part": _name(descriptor)}},
                str(file),
            ),
            provenance={"architecture": descriptor.architecture.name, "tags": list(descriptor.tags)},
        )
        advised = TILE if descriptor.tiling.name == "SUPPORTED" else None
        self.tile = advised if tile == "auto" else tile
        self.scale = network.scale
        self.tiled = not network.masked
        if network.masked:
            self.uses = frozenset({"mask"})

    def restore(self, degraded: Degraded) -> Tensor:
        """The restored image, `scale` times as large."""
        if self.uses:
            return self._filled(degraded.image, degraded.need("mask"))
        return self.model.restore(degraded.image, tile=self.tile)

    @torch.no_grad()
    def _filled(self, image: Tensor, mask: Tensor) -> Tensor:
        """A network that fills holes looks at the whole image: it is never tiled."""
        network = self.model.generator
        height, width = image.shape[-2:]
        grey = image.shape[1] == 1 and network.channels == 3
        missing = network.size.padding(height, width)
        colour = image.expand(-1, 3, -1, -1) if grey else image
        filled: Tensor = network(pad_reflect(colour, *missing), pad_reflect(mask, *missing))
        filled = filled[..., :height, :width].clamp(0, 1)
        return filled.mean(1, keepdim=True) if grey else filled

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self.model.to(device)
        return self


class Network(Generator):
    """A network of spandrel's with its declarations in our words."""

    def __init__(self, descriptor: ImageModelDescriptor[Any] | MaskedImageModelDescriptor[Any]) -> None:
        super().__init__()
        needs = descriptor.size_requirements
        self.channels, self.scale = descriptor.input_channels, descriptor.scale
        self.size = SizeRule(minimum=max(1, needs.minimum), multiple_of=needs.multiple_of)
        self.masked = descriptor.purpose == "Inpainting"
        self.network = descriptor.model
        self._descriptor = descriptor

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Restore ``(N, C, H, W)``; `given` is the mask ``(N, 1, H, W)`` of a network that fills holes."""
        # One by one, since spandrel takes no batches, and copied, since what it makes in inference mode cannot be changed.
        return torch.cat([self._one(x[i : i + 1], None if given is None else given[i : i + 1]).clone() for i in range(len(x))])

    def _one(self, image: Tensor, mask: Tensor | None) -> Tensor:
        with _quiet():
            try:
                made: Tensor = self._descriptor(image) if mask is None else self._descriptor(image, mask.round())
            except torch.OutOfMemoryError:  # a runtime error too, for which core has an answer
                raise
            except (RuntimeError, ValueError, AssertionError) as fault:  # of numbers of heads and the like, which no tensor tells
                height, width = image.shape[-2:]
                why = " ".join(f"{self._descriptor.architecture.name} failed on an image of {width}×{height}: {fault}".split())
                raise restorekit.UserError(f"spandrel's {why[:300]}") from fault
        return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that SwinIR calls ``torch.meshgrid`` in the old way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        yield


def _name(descriptor: ImageModelDescriptor[Any] | MaskedImageModelDescriptor[Any]) -> str:
    return f"spandrel/{descriptor.architecture.id}"


def _recognised(file: Path) -> ImageModelDescriptor[Any] | MaskedImageModelDescriptor[Any]:
    try:
        import spandrel
    except ImportError as absent:
        raise restorekit.MissingPackage(
            "spandrel/checkpoint recognises networks with the package spandrel", "spandrel", "spandrel", "restorekit-spandrel"
        ) from absent
    tensors = restorekit.read_checkpoint(file)
    for support in spandrel.MAIN_REGISTRY.architectures("detection"):
        if not support.detect(tensors):
            continue
        try:
            with _quiet():
                found = support.architecture.load(tensors)
        except Exception as fault:  # spandrel asks for whatever tensor it needs, in whatever way
            why = " ".join(f"{type(fault).__name__}: {fault}".split())
            raise restorekit.UserError(
                f"{file}: looks like {support.architecture.name}, but its tensors do not fit: {why[:300]}"
            ) from fault
        if found.input_channels not in (1, 3):
            raise restorekit.UserError(
                f"{file}: a {support.architecture.name} for images of {found.input_channels} channels; restorekit's have 1 or 3"
            )
        return found
    known = ", ".join(sorted(support.architecture.name for support in spandrel.MAIN_REGISTRY))
    first = ", ".join(list(tensors)[:3])
    raise restorekit.UserError(
        f"{file}: no architecture that spandrel knows; its tensors begin with {first}. spandrel knows {known}. "
        "Networks of restorekit's own plugins: restorekit import --help"
    )


def example(folder: Path) -> dict[str, Any]:
    """Options with a tiny super-resolution network of random weights, for the conformance checks."""
    try:
        from spandrel.architectures.Compact import Compact
    except ImportError as absent:
        raise restorekit.MissingPackage(
            "the example of spandrel/checkpoint is a network of the package spandrel", "spandrel", "spandrel", "restorekit-spandrel"
        ) from absent
    file = folder / "compact.pth"
    torch.save({"params": Compact(num_feat=4, num_conv=1, upscale=2).state_dict()}, file)
    return {"file": str(file)}
