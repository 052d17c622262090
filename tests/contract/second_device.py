"""A device beside the processor, for machines without a GPU.

What it holds it computes on the processor, but like a GPU it takes no tensor from there: mixing the two fails, and so
do a processor's random generator and NumPy. What it draws by itself is not what the processor draws.

Run as a script, since such a device stays once torch knows it:

    python second_device.py RECIPES FOLDER NAMESPACE...

examines the parts of plugins (the check same-on-a-gpu) and trains recipes, by name in a JSON file, on the processor and
there; prints as JSON the results, and by recipe the terms of each step.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import restorekit as rk
from restorekit import devices, processes
from restorekit.conformance import cases
from restorekit.engine.callbacks import Callback

NAME = "elsewhere"
aten = torch.ops.aten
TAKE_BOTH = {aten._to_copy.default, aten.copy_.default, aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
"""Operations that move tensors, or whose indices may be on the processor."""

FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray}


class Module(backend_registration._DummyBackendModule):
    """What torch asks of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """For autocast."""
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, device: Any = None) -> Tensor:
        """What it draws hangs on the processor's state."""
        return torch.empty(0)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        """As above."""


class There(Tensor):
    """A tensor on the second device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Self:
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made: Self = Tensor._make_wrapper_subclass(cls, inner.shape, device=torch.device(NAME, 0), **layout)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return compute(func, args, kwargs or {})


def is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def compute(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Do on the processor what was asked of either device.

    Raises:
        RuntimeError: as on a GPU.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    if there and func not in TAKE_BOTH and any(tensor.ndim and not isinstance(tensor, There) for tensor in tensors):
        raise RuntimeError(f"{func}: expected all tensors on the same device, but found {NAME}:0 and cpu")
    asked = kwargs.get("device")
    on = isinstance(args[0], There) if func is aten.copy_.default else is_there(asked) if asked is not None else bool(there)
    random = kwargs.get("generator")
    if on and random is not None:
        raise RuntimeError(f"{func}: expected a generator of {NAME}, but found one of {random.device.type}")
    plain, named = tree_map_only(There, lambda tensor: tensor.inner, (tuple(args), dict(kwargs)))
    if on and asked is not None:
        named["device"] = torch.device("cpu")
    if on and torch.Tag.nondeterministic_seeded in func.tags:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed() + 1)
            made = func(*plain, **named)
    else:
        made = func(*plain, **named)
    own = {id(tensor.inner): tensor for tensor in there}  # what works in place returns its argument

    def wrapped(tensor: Tensor) -> Tensor:
        if not on:
            return tensor
        return own[id(tensor)] if id(tensor) in own else There(tensor.resolve_conj().resolve_neg())

    return tree_map_only(Tensor, wrapped, made)


class Operations(TorchDispatchMode):
    """Sees those that make tensors, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return compute(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """Does what does not pass through `Operations`: from numbers to tensors and back."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        named = dict(kwargs or {})
        if func is Tensor.tolist:
            return func(args[0].cpu())
        if func is Tensor.new_tensor and isinstance(args[0], There):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **named}).to(args[0].device)
        if func in FROM_NUMBERS and is_there(named.get("device")):
            device = named.pop("device")
            return func(*args, **named).to(device)
        return func(*args, **named)


class Accelerator(CPUAccelerator):
    """What Fabric asks of a device."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing to set up."""


def join(kind: str) -> Fabric:
    """In place of `restorekit.processes.join`."""
    return Fabric(strategy=SingleDeviceStrategy(torch.device(NAME, 0), accelerator=Accelerator()))


class Terms(Callback):
    """Keeps the terms of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def step(self, step: int, terms: Mapping[str, float], *, images: int, learning_rate: float) -> None:
        """Called after each step."""
        self.steps.append({name: float(value) for name, value in terms.items()})


def train(recipes: Mapping[str, Mapping[str, Any]], folder: Path, device: str) -> dict[str, list[dict[str, float]]]:
    """Train, and give the terms of each step by recipe."""
    found = {}
    for name, recipe in recipes.items():
        terms = Terms()
        rk.train(rk.recipe(recipe), out=folder / device / name, device=device, callbacks=[terms])
        found[name] = terms.steps
    return found


def main(recipes: str, folder: str, *namespaces: str) -> None:
    """Do what the module's docstring says."""
    contents = json.loads(Path(recipes).read_text())
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())  # autograd counts devices once
    here = train(contents, Path(folder), "cpu")
    torch.__future__.set_swap_module_params_on_conversion(True)  # parameters stay the objects that an optimizer knows
    devices.pick = lambda device="auto": torch.device(NAME, 0)
    processes.join = join
    with Operations(), Functions():
        checks = [case for name in namespaces for case in cases(name) if case.id.endswith(":same-on-a-gpu")]
        results = [dataclasses.asdict(case.examine()) for case in checks]
        there = train(contents, Path(folder), NAME)
    print(json.dumps({"results": results, "here": here, "there": there}))


if __name__ == "__main__":
    main(*sys.argv[1:])
