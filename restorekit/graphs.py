"""A torch module as an ONNX graph, for images of any size."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from restorekit.errors import MissingPackage, UserError
from restorekit.images import SizeRule

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def need_onnx(need: str) -> None:
    """Raise a `MissingPackage` that names the extra, unless what ONNX takes is installed; `need` says what needs it."""
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise MissingPackage(f"{need} needs {name}", " ".join(NEEDED), "onnx")


def to_onnx(module: nn.Module, examples: Mapping[str, Tensor], size: SizeRule, *, what: str) -> Any:
    """The module in evaluation mode as an ``onnx.ModelProto`` with one output, ``output``.

    Args:
        module: takes the examples in their order and gives a tensor.
        examples: its inputs by name; of those with four dimensions batch, height and width stay free within `size`, of
            others the batch.
        size: which heights and widths it takes.
        what: how messages call it.

    Raises:
        UserError: something in it has no ONNX form, or depends on the size in a way that a graph cannot say.
    """
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple(_free(example, size, batch, place) for place, example in enumerate(examples.values()))
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")  # about torch's own parts and versions
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                module,
                tuple(examples.values()),
                input_names=list(examples),
                output_names=["output"],
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
        except Exception as fault:
            raise UserError(f"{what} cannot be written as ONNX: {_cause(fault)}") from fault
        finally:
            logger.setLevel(level)
    assert program is not None
    return program.model_proto


def _free(example: Tensor, size: SizeRule, batch: Any, place: int) -> dict[int, Any]:
    if example.ndim != 4 or size.fixed is not None:
        return {0: batch}
    names = ("height", "width") if place == 0 else (f"height{place}", f"width{place}")
    multiple, least = (size.multiple_of, size.minimum) if place == 0 else (1, 16)
    free = [torch.export.Dim(name if multiple == 1 else f"{name}_{multiple}", min=max(1, -(-least // multiple))) for name in names]
    return {0: batch} | {axis: multiple * dim if multiple > 1 else dim for axis, dim in zip((2, 3), free, strict=True)}


def _cause(fault: BaseException) -> str:
    """What went wrong at the bottom of a chain of exceptions, in one line."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    return " ".join(str(fault).split())[:300] or type(fault).__name__
