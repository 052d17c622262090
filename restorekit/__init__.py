"""restorekit: a plugin-based image restoration toolbox.

    import restorekit as rk

    recipe = rk.recipe("deblurgan/default").set("train.steps", 2000)
    model = rk.train(recipe)
    model.save("deblur.safetensors")
    rk.load("deblur.safetensors")(image)

Names are resolved on first use: importing restorekit does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restorekit import bench as bench
    from restorekit.checkpoints import read_checkpoint as read_checkpoint
    from restorekit.devices import has_bf16 as has_bf16
    from restorekit.discovery import registry as registry
    from restorekit.engine import train as train
    from restorekit.errors import MissingPackage as MissingPackage
    from restorekit.errors import UserError as UserError
    from restorekit.modelfile import Model as Model
    from restorekit.modelfile import load as load
    from restorekit.recipes import Recipe as Recipe
    from restorekit.recipes import recipe as recipe

__version__ = "0.1.0"

_WHERE = {
    "registry": "restorekit.discovery",
    "has_bf16": "restorekit.devices",
    "recipe": "restorekit.recipes",
    "Recipe": "restorekit.recipes",
    "train": "restorekit.engine",
    "load": "restorekit.modelfile",
    "Model": "restorekit.modelfile",
    "UserError": "restorekit.errors",
    "MissingPackage": "restorekit.errors",
    "read_checkpoint": "restorekit.checkpoints",
}

__all__ = [
    "MissingPackage",
    "Model",
    "Recipe",
    "UserError",
    "__version__",
    "bench",
    "has_bf16",
    "load",
    "read_checkpoint",
    "recipe",
    "registry",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "bench":
        return importlib.import_module("restorekit.bench")
    if name not in _WHERE:
        raise AttributeError(f"module 'restorekit' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
