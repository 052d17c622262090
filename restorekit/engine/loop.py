"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from restorekit import discovery, seeding
from restorekit.engine import checkpoint
from restorekit.engine.callbacks import Callback, History, Progress, TensorBoard
from restorekit.engine.data import Batch
from restorekit.engine.run import Run
from restorekit.errors import TrainingError
from restorekit.modelfile import Model
from restorekit.recipes import Recipe
from restorekit.registries import Registry


def train(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> Model:
    """Train a recipe's generator.

    The recipe is checked whole before anything is built. The global random state is left as it was; the same recipe
    gives the same model on the same kind of machine.

    Args:
        recipe: what to train.
        out: folder for ``model.safetensors``, ``history.jsonl``, ``tensorboard/`` and the checkpoint; nothing is
            written if None.
        resume: go on from the checkpoint in `out`.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: show a bar on standard error.
        callbacks: more things that want to be told.
        registry: where parts are looked up; the installed ones if None.

    Returns:
        The trained model, its generator holding the moving average where the recipe has one.

    Raises:
        UserError: mistakes in the recipe, unusable data, or a run that cannot go on.
    """
    registry = registry or discovery.registry()
    recipe = recipe.check(registry)
    folder = Path(out) if out is not None else None
    if resume and folder is None:
        raise TrainingError("resume: give the folder with the checkpoint (out)")
    if folder is not None and not resume and (folder / checkpoint.NAME).exists():
        raise TrainingError(f"{folder}: holds a run already. Add --resume to go on with it, or choose another folder with --out")
    with seeding.seeded(recipe.content["train"]["seed"], "networks"):
        run = Run(recipe, device, registry)
    listeners = list(callbacks)
    if folder is not None:
        listeners += [History(folder / "history.jsonl"), TensorBoard(folder / "tensorboard")]
    if progress:
        listeners.append(Progress())
    first = checkpoint.load(folder / checkpoint.NAME, run.state, recipe=recipe) if resume and folder else 0
    with contextlib.ExitStack() as stack, seeding.seeded(0):
        for listener in listeners:
            listener.start(first, run.settings.steps)
            stack.callback(listener.close)
        _loop(run, first, folder, listeners)
        scores = run.validate(run.settings.steps, listeners)
    model = run.model(scores)
    if folder is not None:
        model.save(folder / "model.safetensors")
    return model


def _loop(run: Run, first: int, folder: Path | None, listeners: Sequence[Callback]) -> None:
    settings = run.settings
    done = first
    try:
        for step, batch in _batches(run, first):
            # Whatever networks draw (dropout, latents, penalties) follows from seed and step, so nothing needs storing.
            torch.manual_seed(seeding.derive(settings.seed, "step", step))
            rate = run.set_learning_rate(step)
            terms = run.step(batch.to(run.device), run.latent(len(batch.sharp), step))
            run.average.update(run.generator, step)
            for features in run.shared:
                features.clear()
            done = step + 1
            for listener in listeners:
                listener.step(done, terms, images=len(batch.sharp), learning_rate=rate)
            if done % settings.validate_every == 0 and done < settings.steps:
                run.validate(done, listeners)
            if folder is not None and (done % settings.checkpoint_every == 0 or done == settings.steps):
                checkpoint.save(folder / checkpoint.NAME, run.state, step=done, recipe=run.recipe)
    except KeyboardInterrupt:
        if folder is None:
            raise
        if done > first:
            checkpoint.save(folder / checkpoint.NAME, run.state, step=done, recipe=run.recipe)
        raise TrainingError(f"stopped after {done} of {settings.steps} steps; nothing is lost: add --resume to go on") from None


def _batches(run: Run, first: int) -> Iterator[tuple[int, Batch]]:
    steps = range(first, run.settings.steps)
    if run.device.type == "cpu":  # the network has all cores; a second thread would only get in its way
        yield from ((step, run.patches.batch(step)) for step in steps)
        return
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(run.patches.batch, step) for step in steps[:1]]
        for step in steps:
            batch = coming.pop().result()
            coming = [reader.submit(run.patches.batch, later) for later in range(step + 1, min(step + 2, steps.stop))]
            yield step, batch
