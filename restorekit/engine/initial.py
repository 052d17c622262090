"""Training that starts from a trained model instead of random weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from restorekit.errors import TrainingError
from restorekit.modelfile import Model
from restorekit.recipes import Recipe


def start_from(model: Model, recipe: Recipe, networks: Mapping[str, nn.Module]) -> None:
    """Put a model's weights into new networks: the generator's, and the critic's where both have one.

    Args:
        model: trained.
        recipe: what is going to be trained.
        networks: ``generator`` and perhaps ``critic``.

    Raises:
        TrainingError: tensors are missing, too many or of another shape; all of them are listed.
    """
    wrong: list[str] = []
    found: dict[str, nn.Module] = {"generator": model.generator}
    if model.critic is not None and "critic" in networks:
        found["critic"] = model.critic
    for kind, source in found.items():
        wrong += [f"{kind}: {line}" for line in _mismatches(source.state_dict(), networks[kind].state_dict())]
    if wrong:
        options = [
            f"{kind}.{name}={_of(model.recipe, kind).get(name)!r} (here {value!r})"
            for kind in found
            for name, value in _of(recipe, kind).items()
            if _of(model.recipe, kind).get(name) != value
        ]
        hint = f"\nthe model was made with {', '.join(options)}" if options else ""
        raise TrainingError(f"--init {model.recipe.origin}: {len(wrong)} tensors do not fit:\n  " + "\n  ".join(wrong) + hint)
    for kind, source in found.items():
        networks[kind].load_state_dict(source.state_dict())


def _mismatches(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
    wrong = [
        f"{name} is {tuple(theirs[name].shape)} in the model, {tuple(ours[name].shape)} here"
        for name in ours
        if name in theirs and theirs[name].shape != ours[name].shape
    ]
    wrong += [f"{name} is not in the model" for name in ours if name not in theirs]
    return wrong + [f"{name} is not in the network" for name in theirs if name not in ours]


def _of(recipe: Recipe, kind: str) -> Mapping[str, object]:
    spec = recipe.content.get(kind)
    return spec if isinstance(spec, Mapping) else {}
