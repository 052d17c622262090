"""What an object is made of, flattened so that two builds of a part can be compared."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from torch import Tensor

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
TENSOR = "tensor "


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """Every value inside an object by its path; arrays as digests.

    Attributes are joined by dots and items are in brackets, so that a path without a dot is an
    attribute of the object itself, or an item of one.
    """
    found: dict[str, str] = {}
    _walk(value, path, found, set())
    return found


def digest(value: Tensor) -> str:
    """Shape, dtype and a hash of a tensor's values."""
    plain = value.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        plain = plain.float()
    return f"{TENSOR}{tuple(value.shape)} {value.dtype} {hashlib.sha1(plain.numpy().tobytes(), usedforsecurity=False).hexdigest()}"


def _walk(value: Any, path: str, found: dict[str, str], above: set[int]) -> None:
    if isinstance(value, Tensor):
        found[path] = digest(value)
    elif isinstance(value, np.ndarray):
        found[path] = digest(torch.from_numpy(np.ascontiguousarray(value))) if value.dtype.kind in "fiub" else repr(value.tolist())
    elif isinstance(value, torch.Generator):
        found[path] = digest(value.get_state())
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | type):
        found[path] = repr(value)
    elif id(value) in above:
        found[path] = "a cycle"
    else:
        _walk_inside(value, path, found, above | {id(value)})


def _walk_inside(value: Any, path: str, found: dict[str, str], above: set[int]) -> None:
    if isinstance(value, Mapping):
        found[path] = type(value).__name__
        for key, item in value.items():
            _walk(item, f"{path}[{key}]", found, above)
    elif isinstance(value, list | tuple):
        found[path] = f"{type(value).__name__} of {len(value)}"
        for i, item in enumerate(value):
            _walk(item, f"{path}[{i}]", found, above)
    elif isinstance(value, AbstractSet):
        found[path] = repr(sorted(map(repr, value)))
    elif isinstance(value, functools.partial):
        _walk((value.func, value.args, value.keywords), path, found, above)
    elif hasattr(value, "__closure__"):
        found[path] = f"{value.__module__}.{value.__qualname__}"
        _walk([value.__defaults__, value.__kwdefaults__], f"{path}.defaults", found, above)
        _walk([cell.cell_contents for cell in value.__closure__ or ()], f"{path}.closure", found, above)
    elif hasattr(value, "__dict__"):
        found[path] = type(value).__qualname__
        for name, item in vars(value).items():
            _walk(item, f"{path}.{name}" if path else name, found, above)
    else:
        found[path] = ADDRESS.sub("", repr(value))
