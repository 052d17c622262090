"""What an importer makes of somebody else's checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Imported:
    """How the tensors of somebody else's checkpoint make one of our networks.

    Attributes:
        options: the generator's, as far as the file tells; the user may add others, and the rest stay at their defaults.
        names: the name in the file of every tensor of the network, by the network's name, also where the file lacks it.
        changed: tensors that are not taken as the file has them, by the network's name.
        dropped: names of tensors in the file that are left out on purpose, each with the reason.
    """

    options: Mapping[str, Any]
    names: Mapping[str, str]
    changed: Mapping[str, Tensor] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


Importer = Callable[[Mapping[str, Tensor], Mapping[str, Any]], Imported | None]
"""A function that a generator's record names: ``Part(..., importer="my_plugin.importing:resnet")``.

It takes the tensors of a checkpoint by name, and the options that the user gave, unchecked. It returns what to do with them, or None
where the checkpoint is not of its network; whether the tensors fit is for core to check.
"""
