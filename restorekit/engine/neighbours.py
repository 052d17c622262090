"""The training pictures that are nearest to made ones: whoever only remembers makes copies of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import config, discovery
from restorekit.engine.data import PatchSource
from restorekit.engine.reading import ReadAhead
from restorekit.engine.sources import open_sources
from restorekit.errors import ConfigError
from restorekit.modelfile import Model
from restorekit.settings import DataSettings

COUNT = 1024
"""Training patches that are compared with."""

FLAT = 1e-3
"""Length of a picture without its mean, below which it has nothing but rounding in it."""

TIE = 1e-4
"""Correlation that a difference of the whole range is worth, where patches correlate alike."""


def patches(source: PatchSource | ReadAhead, count: int = COUNT) -> Tensor:
    """The first `count` training patches ``(count, C, H, W)``, as trainings see them."""
    if isinstance(source, ReadAhead):
        source = source.source  # its processes go on with what comes next
    found: list[Tensor] = []
    step = 0
    while sum(map(len, found)) < count:
        found.append(source.batch(step).sharp)
        step += 1
    return torch.cat(found)[:count]


def trained_on(model: Model, data: str | None = None, count: int = COUNT) -> Tensor:
    """Patches of the pictures that a model was trained on.

    Args:
        model: with its recipe.
        data: folder instead of the one in the recipe, if that has moved.
        count: how many.

    Raises:
        UserError: the pictures are not there.
    """
    registry = discovery.registry()
    content = dict(model.recipe.content["data"]) | ({} if data is None else {"train": data}) | {"workers": 0}
    checked, problems = config.check(DataSettings, content, registry=registry, where="data", owner="data")
    if problems:  # a model of another release
        raise ConfigError(f"{model.recipe.origin}: {problem}" for problem in problems)
    settings: DataSettings = config.construct(DataSettings, checked, registry=registry, where="data")
    seed = model.recipe.content["train"]["seed"]
    sources = open_sources(settings, generator=model.generator, degradation=None, seed=seed, device=torch.device("cpu"))
    return patches(sources.patches, count)


def nearest(images: Tensor, among: Tensor) -> Tensor:
    """For each of the images ``(n, C, H, W)`` the one of `among` that correlates best with it, whatever the light.

    The least mean squared difference is that of a flat patch wherever grain does not fall on grain: one patch would be the
    neighbour of everything. It only settles ties, as between a patch and a paler one.
    """
    made, real = images.flatten(1).float().cpu(), among.flatten(1).float()
    alike = _standardised(made) @ _standardised(real).T
    apart = torch.cdist(made, real) / made.shape[1] ** 0.5
    return among[(alike - TIE * apart).argmax(1)]


def _standardised(rows: Tensor) -> Tensor:
    """Each row without its mean and of length 1; zeros for one without contrast."""
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1, eps=FLAT)
