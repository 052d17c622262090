"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from restorekit import discovery, modelfile, processes, seeding
from restorekit.engine import checkpoint, folders
from restorekit.engine.callbacks import Callback, History, Progress, TensorBoard
from restorekit.engine.data import Batch
from restorekit.engine.players import NonFiniteError
from restorekit.engine.report import Report
from restorekit.engine.run import Run
from restorekit.engine.samples import Samples
from restorekit.engine.watch import Event, GaveUpError
from restorekit.errors import Stopped
from restorekit.files import TRAINED
from restorekit.interrupt import Interrupt
from restorekit.modelfile import Model
from restorekit.recipes import Recipe
from restorekit.registries import Registry

AFTER_EVERY = 10
"""Steps after each of which the critic is asked again about what the generator makes then; histories have a line as often."""


def train(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    init: str | Path | Model | None = None,
    device: str = "auto",
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> Model:
    """Train a recipe's generator.

    The recipe is checked whole before anything is built. The global random state is left as it was; the same recipe
    gives the same model on the same kind of machine. Processes that torchrun or SLURM has started share the batches, and
    the first of them writes.

    Args:
        recipe: what to train.
        out: folder for ``model.safetensors``, ``history.jsonl``, ``report.png``, ``tensorboard/`` and the checkpoints, and
            for pictures of the same latent vectors through the run, ``samples/`` and ``samples.gif``, where the generator
            makes pictures from such; nothing is written if None.
        resume: go on from the newest checkpoint in `out`.
        init: a model, or its file, whose weights the networks start with; they must fit exactly. It is validated first.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: show a bar on standard error.
        callbacks: more things that want to be told, in each process where there are several.
        registry: where parts are looked up; the installed ones if None.

    Returns:
        The trained model, its generator holding the moving average where the recipe has one.

    Raises:
        UserError: mistakes in the recipe, unusable data, a folder that cannot be written, or a run that cannot go on.
    """
    registry = registry or discovery.registry()
    recipe = recipe.check(registry)
    folder = folders.check(out, resume=resume, init=init is not None)
    model = modelfile.load(init, registry=registry) if isinstance(init, str | Path) else init
    with processes.lost(), seeding.seeded(recipe.content["train"]["seed"], "networks"):
        run = Run(recipe, device, registry, model)
    first = run.resume(folder) if resume and folder else 0
    listeners = list(callbacks)
    if run.crew.rank == 0:
        if folder is not None:
            checkpoint.tidy(folder)
            listeners += [History(folder / "history.jsonl"), TensorBoard(folder / "tensorboard"), Samples(folder), Report(folder)]
        if progress and first < run.settings.steps:
            listeners.append(Progress())
    with processes.lost(), folders.told(folder), contextlib.ExitStack() as stack, seeding.seeded(0):
        stack.callback(run.sources.close)
        for listener in listeners:
            listener.start(first, run.settings.steps)
            stack.callback(listener.close)
        if model is not None and not first:
            run.before = run.validate(0, listeners)
        done = _loop(run, first, folder, listeners)
        result = run.finish(done, listeners)
        if folder is not None and run.crew.rank == 0:
            result.save(folder / TRAINED)
        for listener in listeners:
            listener.finish()
    return result


def _loop(run: Run, first: int, folder: Path | None, listeners: Sequence[Callback]) -> int:
    """Train from step `first` to the end and return the number of steps done."""
    settings, patience = run.settings, run.patience
    done = first
    if patience is not None and patience.over:
        return done
    interrupt = Interrupt(settle=1.0 if run.crew.world > 1 else 0.0, quiet=run.crew.rank > 0)
    with interrupt, contextlib.closing(_batches(run, first)) as batches:
        for step, batch in batches:
            run.seed(step)
            rate = run.set_learning_rate(step)
            done = step + 1
            try:
                event = _step(run, step, batch, rate, listeners)
            except GaveUpError:
                if folder is not None:
                    run.save(folder, done)
                raise
            if event is not None:
                warnings.warn(f"the watch: {event}", UserWarning, stacklevel=3)
                for listener in listeners:
                    listener.rescued(done, event)
            if done % settings.validate_every == 0 and done < settings.steps:
                run.validate(done, listeners)
            over = patience is not None and patience.over
            stop = run.anywhere(interrupt.asked) and done < settings.steps and not over
            if folder is not None and (done % settings.checkpoint_every == 0 or done == settings.steps or over or stop):
                run.save(folder, done)
            if over:
                break
            if stop and folder is None:
                raise KeyboardInterrupt
            if stop:
                raise Stopped(f"stopped after {done} of {settings.steps} steps; nothing is lost: add --resume to go on")
    return done


def _step(run: Run, step: int, batch: Batch, rate: float, listeners: Sequence[Callback]) -> Event | None:
    """Do one step, tell the listeners, and return what the watch had to do."""
    try:
        run.grow(step)
        after = (step + 1) % AFTER_EVERY == 0
        outcome = run.step(run.put(batch), run.latent(step), play=step >= run.settings.critic_start, after=after)
    except NonFiniteError as fault:
        if run.watch is None:
            raise
        return run.watch.not_finite(step + 1, fault)
    run.average.update(run.generator, step)
    for listener in listeners:
        listener.step(step + 1, outcome.terms, images=run.data.batch, learning_rate=rate)
    signals, event = (outcome.signals, None) if run.watch is None else run.watch.look(step + 1, outcome, batch.sharp)
    for listener in listeners:
        listener.measured(step + 1, signals)
    return event


def _batches(run: Run, first: int) -> Generator[tuple[int, Batch]]:
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
