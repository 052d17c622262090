"""Reading ahead: the same batches, byte for byte, whatever the number of workers and whatever is kept in memory."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

import restorekit as rk
from restorekit.datasets import layouts
from restorekit.datasets.photographs import Photographs
from restorekit.engine.data import Batch, PatchSource
from restorekit.engine.reading import MOST_WORKERS, ReadAhead, workers_for
from restorekit.errors import TrainingError
from restorekit.settings import DataSettings

from .data_files import damage, write_pairs, write_sharp

STEPS = 5


def source(folder: Path, memory: int, seed: int = 0) -> PatchSource:
    """Real pairs and synthetic ones, at several scales and colours, with noise that is drawn for each pixel."""
    pairs = Photographs(layouts.find(folder / "sharp", degraded=folder / "degraded"), channels=3, smallest=32)
    more = Photographs(layouts.find(folder / "more"), channels=3, smallest=32)
    for images in (pairs, more):
        images.keep(memory)
    damages = rk.registry().create(
        "degradation",
        "core/sequence",
        steps=[{"part": "core/camera-shake", "length": [3, 7]}, {"part": "core/gaussian-noise", "sigma": [0, 0.02]}],
    )
    settings = DataSettings(crop=32, batch=5, zoom=(0.6, 1.0), colour_jitter=0.1, synthetic_share=0.4, sharp_share=0.1)
    return PatchSource(pairs, settings, damages, seed, more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pairs(tmp_path)
    write_sharp(tmp_path / "more")
    return tmp_path


def digest(batch: Batch) -> str:
    tensors = [batch.sharp, batch.degraded.image, *batch.degraded.params.values()]
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged"])
@pytest.mark.parametrize("memory", [100, 0], ids=["kept", "read"])
def test_workers_and_memory_change_no_byte(memory: int, damaged: bool, folder: Path) -> None:
    if damaged:
        damage(folder / "more" / "3.jpg")
        damage(folder / "degraded" / "1.png")
    reference = source(folder, 100)
    expected = [digest(reference.batch(step)) for step in range(STEPS)]
    assert len(set(expected)) == STEPS
    plain = source(folder, memory)
    assert [digest(plain.batch(step)) for step in range(STEPS)] == expected
    for workers in (1, 3):
        ahead = ReadAhead(source(folder, memory), workers)
        assert [digest(ahead.batch(step)) for step in range(STEPS)] == expected
        assert set(ahead.unreadable) == ({"3", "1"} if damaged else set())
        ahead.close()
    assert digest(source(folder, memory, seed=1).batch(0)) != expected[0]


def test_any_step_may_be_asked_for(folder: Path) -> None:
    """As after a roll-back, or where a run is resumed."""
    reference, ahead = source(folder, 0), ReadAhead(source(folder, 0), 2)
    for step in (7, 8, 2, 3, 2):
        assert digest(ahead.batch(step)) == digest(reference.batch(step))
    ahead.close()
    assert digest(ahead.batch(4)) == digest(reference.batch(4))


def test_the_global_state_is_left_alone(folder: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ahead = ReadAhead(source(folder, 0), 2)
    ahead.batch(0)
    ahead.close()
    assert torch.equal(before, torch.get_rng_state())


def test_closing_ends_the_workers(folder: Path) -> None:
    before = set(multiprocessing.active_children())
    ahead = ReadAhead(source(folder, 0), 2)
    ahead.batch(0)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    ahead.close()
    assert not any(worker.is_alive() for worker in workers)


def test_a_worker_that_dies_ends_the_run_with_a_message(folder: Path) -> None:
    before = set(multiprocessing.active_children())
    ahead = ReadAhead(source(folder, 0), 1)
    ahead.batch(0)
    (worker,) = set(multiprocessing.active_children()) - before
    worker.kill()
    with pytest.raises(TrainingError, match=r"a process that makes batches ended.*data\.workers"):
        list(map(ahead.batch, range(1, 20)))  # some were made before it died


def test_workers_that_cannot_be_started_are_a_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(TrainingError, match=r"cannot be started: .*temporarily unavailable\. Lower data\.workers"):
        ReadAhead(source(folder, 0), 1).batch(0)


def test_what_the_user_must_know_comes_through_without_a_traceback(folder: Path) -> None:
    ahead = ReadAhead(source(folder, 0), 1)
    for file in folder.rglob("*.*"):
        file.unlink()
    with pytest.raises(TrainingError, match=r"^20 photographs drawn in a row cannot be read") as caught:
        ahead.batch(0)
    assert "Traceback" not in str(caught.value)


def test_a_fault_inside_a_worker_is_not_taken_for_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = source(folder, 100)

    def fail(step: int) -> Batch:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(broken, "batch", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        ReadAhead(broken, 1).batch(0)


def test_how_many_workers_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert workers_for(None, torch.device("cpu")) == 0
    assert workers_for(None, torch.device("cuda")) == MOST_WORKERS
    assert workers_for(3, torch.device("cpu")) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert workers_for(None, torch.device("cuda")) == 0


def test_signals_to_the_whole_group_are_left_to_the_parent(folder: Path) -> None:
    """As Ctrl-C in a terminal, or the SIGTERM of a batch system."""
    before = set(multiprocessing.active_children())
    reference, ahead = source(folder, 0), ReadAhead(source(folder, 0), 2)
    list(map(ahead.batch, range(2)))  # one from each worker: both are at work
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    for worker in workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    for step in range(2, 8):
        assert digest(ahead.batch(step)) == digest(reference.batch(step))
    ahead.close()
