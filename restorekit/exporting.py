"""Models as ONNX files that other programs run, checked against torch before they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from restorekit import files, graphs
from restorekit.errors import UserError
from restorekit.images import SizeRule, finest
from restorekit.interfaces import Generator
from restorekit.modelfile import Model

TOLERANCE = 1e-3
"""Largest difference between torch and ONNX Runtime, of 1: a quarter of a step of eight bits."""

SIDES = ((96, 160), (208, 112))
"""Heights and widths of the pictures that both are compared on, before they are brought to sizes that the network takes."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        inputs: names and shapes, with words where sizes are free.
        output: shape.
        differences: largest difference from torch for each size that was tried, by ``WIDTHxHEIGHT``.
        metadata: what the file says of itself.
    """

    path: Path
    inputs: dict[str, list[int | str]]
    output: list[int | str]
    differences: dict[str, float]
    metadata: dict[str, str]


class Restoring(nn.Module):
    """A generator as its users see it: of several images the finest, in [0, 1]."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """As the generator."""
        made = self.generator(x) if given is None else self.generator(x, given)
        return finest(made).clamp(0, 1)


def export(model: Model, path: Path, *, what: str) -> Exported:
    """Write the model's network as ONNX, if ONNX Runtime makes the same of two sizes as torch does.

    Args:
        model: on the processor.
        path: where to; written beside first and then renamed.
        what: how messages call the model.

    Raises:
        UserError: a package is missing, the network has no ONNX form, or the results differ.
    """
    graphs.need_onnx(f"{what} as ONNX")
    generator = model.generator
    part = model.recipe.content["generator"]["part"]
    if not generator.exportable:
        raise UserError(
            f"{what}: {part} here searches for the blur of each picture, step by step and until it is found, which a graph of fixed "
            f"operations cannot say; nothing was written. What can be exported is a network without such a search: "
            f"for example one trained with --set generator.psf=null --set generator.stages=1 --set generator.refine=false"
        )
    network = Restoring(generator).eval()
    tries = [_inputs(generator, sides) for sides in (SIDES if generator.size.fixed is None else SIDES[:1])]
    made = graphs.to_onnx(network, tries[0], generator.size if generator.consumes == "image" else SizeRule(fixed=(1, 1)), what=what)
    metadata = _metadata(model, part)
    for key, value in metadata.items():
        entry = made.metadata_props.add()
        entry.key, entry.value = key, value
    content = made.SerializeToString()
    differences = _differences(network, content, tries)
    worst = max(differences.values())
    if not worst <= TOLERANCE:
        raise UserError(
            f"{what}: ONNX Runtime makes something else of it than torch does: they differ by up to {worst:.2g} of 1, and at most "
            f"{TOLERANCE:.0e} is allowed ({', '.join(f'{size}: {value:.2g}' for size, value in differences.items())}); nothing was written"
        )
    files.write(path, content)
    shapes = {value.name: _shape(value) for value in made.graph.input}
    return Exported(path, shapes, _shape(made.graph.output[0]), differences, metadata)


def _inputs(generator: Generator, sides: tuple[int, int]) -> dict[str, Tensor]:
    """Two pictures or latents to try it with, and what they are conditioned on."""
    drawn = torch.Generator().manual_seed(0)
    if generator.consumes == "latent":
        inputs = {"latent": torch.randn(2, generator.latent, generator=drawn)}
    else:
        height, width = generator.size.fixed or sides
        height, width = (max(side, generator.size.minimum) for side in (height, width))
        down, right = generator.size.padding(height, width)
        inputs = {"image": torch.rand(2, generator.channels, height + down, width + right, generator=drawn)}
    if generator.guided:
        inputs["reference"] = torch.rand(2, 3, *sides, generator=drawn)
    elif generator.classes:
        inputs["label"] = torch.arange(2) % generator.classes
    return inputs


def _metadata(model: Model, part: str) -> dict[str, str]:
    generator = model.generator
    rule = generator.size
    return {
        "restorekit.generator": part,
        "restorekit.recipe": model.recipe.canonical,
        "restorekit.size": json.dumps({"minimum": rule.minimum, "multiple_of": rule.multiple_of, "fixed": rule.fixed}),
        "restorekit.channels": str(generator.channels),
        "restorekit.scale": str(generator.scale),
        "restorekit.range": "RGB or grey, N×C×H×W, float32, 0 to 1" if generator.consumes == "image" else "latent from a standard normal",
        "restorekit.provenance": json.dumps(dict(model.provenance), sort_keys=True),
    }


def _differences(network: nn.Module, content: bytes, tries: list[dict[str, Tensor]]) -> dict[str, float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = {}
    for inputs in tries:
        with torch.no_grad():
            expected = network(*inputs.values())
        (made,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        height, width = made.shape[-2:]
        same = made.shape == tuple(expected.shape)
        found[f"{width}x{height}"] = float(np.abs(made - expected.numpy()).max()) if same else float("inf")
    return found


def _shape(value: Any) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
