"""A run tried out: everything is checked and built, one step and one validation picture are done, nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from restorekit import discovery, modelfile, processes, seeding
from restorekit.engine import folders
from restorekit.engine.run import Run
from restorekit.modelfile import Model
from restorekit.recipes import Recipe
from restorekit.registries import Registry


@dataclass(frozen=True)
class Rehearsal:
    """What a run would be like.

    Attributes:
        device: cpu, cuda or mps.
        precision: as chosen.
        images: photographs to train on.
        held_out: photographs to validate on.
        parameters: of the generator.
        steps: that are left to do.
        step_seconds: for a step, with its batch.
        validation_seconds: for a whole validation, from one picture.
        seconds: for the whole run.
        terms: of the step.
        scores: of the picture.
    """

    device: str
    precision: str
    images: int
    held_out: int
    parameters: int
    steps: int
    step_seconds: float
    validation_seconds: float
    seconds: float
    terms: dict[str, float]
    scores: dict[str, float]


def rehearse(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    init: str | Path | Model | None = None,
    device: str = "auto",
    registry: Registry | None = None,
) -> Rehearsal:
    """Do what `restorekit.engine.train` would do, for one step.

    The step is done twice and the second one timed, since the first has costs of its own.

    Raises:
        UserError: what `train` would raise before and in its first step.
    """
    registry = registry or discovery.registry()
    recipe = recipe.check(registry)
    folder = folders.check(out, resume=resume, init=init is not None)
    model = modelfile.load(init, registry=registry) if isinstance(init, str | Path) else init
    with processes.lost(), seeding.seeded(recipe.content["train"]["seed"], "networks"):
        run = Run(recipe, device, registry, model)
    settings = run.settings
    first = run.resume(folder) if resume and folder else 0
    with processes.lost(), seeding.seeded(0):
        terms, _ = _timed_step(run, first)
        _, step_seconds = _timed_step(run, first)
        start = time.perf_counter()
        scores = run.validate(first, [], images=1)
        picture_seconds = time.perf_counter() - start
    run.sources.finish()
    left = max(0, settings.steps - first)
    validation_seconds = picture_seconds * max(1, len(run.pairs))
    validations = (settings.steps - 1) // settings.validate_every - first // settings.validate_every + 1
    return Rehearsal(
        device=run.device.type,
        precision=run.precision,
        images=run.sources.count,
        held_out=len(run.pairs),
        parameters=sum(weight.numel() for weight in run.generator.parameters()),
        steps=left,
        step_seconds=step_seconds,
        validation_seconds=validation_seconds,
        seconds=left * step_seconds + validations * validation_seconds,
        terms=terms,
        scores=scores,
    )


def _timed_step(run: Run, step: int) -> tuple[dict[str, float], float]:
    start = time.perf_counter()
    run.seed(step)
    run.set_learning_rate(step)
    batch = run.patches.batch(step)
    outcome = run.step(run.put(batch), run.latent(step), play="critic" in run.players)
    run.average.update(run.generator, step)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return outcome.terms, time.perf_counter() - start
