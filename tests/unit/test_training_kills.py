"""Work is never lost: runs are killed, and disks fill up, at any moment, and what is resumed ends where it would have."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import restorekit as rk
from restorekit.engine import checkpoint
from restorekit.engine.callbacks import history

# Everything that has a state: two networks, averages, the best weights so far, the watch, a critic that rests.
CONTENT: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "degradation": {"part": "core/gaussian-noise", "sigma": 0.1},
    "generator": {"part": "deblurgan/resnet9", "blocks": 1, "width": 4},
    "critic": {"part": "deblurgan/patch70", "width": 4},
    "adversarial": {"part": "core/wgan-gp", "weight": 0.01},
    "losses": ["core/charbonnier"],
    "data": {"train": "bundled", "crop": 32, "batch": 2, "validation_images": 1},
    "train": {
        "steps": 12,
        "precision": "fp32",
        "validate_every": 4,
        "checkpoint_every": 3,
        "ema": 0.9,
        "patience": 9,
        "watch_every": 4,
        "critic_rest": -0.5,
    },
}

# A process that has imported everything and computed nothing: its children begin at once, and no thread of torch is forked.
SCRIPT = """
import errno, json, os, resource, signal, sys, time, warnings
from pathlib import Path
import restorekit as rk
from restorekit import engine
from restorekit.engine import checkpoint, report, run
from restorekit.engine.callbacks import Callback
from restorekit.errors import UserError
import torch.utils.tensorboard.writer

warnings.simplefilter("ignore")
recipe = rk.recipe(json.loads(sys.argv[1]))
EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "shutil.copyfile")

def at_event(folder, moment, log):
    count = 0
    def hook(event, args):
        nonlocal count
        if event not in EVENTS or not str(args[0]).startswith(folder):
            return
        if event == "open" and not (args[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        if log:
            os.write(log, b"+")
    sys.addaudithook(hook)

class Limit(Callback):
    def __init__(self, step, size):
        self.last, self.size = step, size
    def step(self, step, terms, **more):
        if step == self.last:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))

def train(folder, how):
    log = how.get("log") and os.open(how["log"], os.O_WRONLY | os.O_CREAT)
    at_event(folder, how.get("event"), log)
    limit = [Limit(*how["limit"])] if "limit" in how else []
    try:
        rk.train(recipe, out=folder, device="cpu", resume=checkpoint.there(Path(folder)), callbacks=limit)
    except UserError as fault:
        print(fault, flush=True)
        os._exit(2)
    os._exit(0)

for line in sys.stdin:
    folder, how = json.loads(line)
    began = time.monotonic()
    child = os.fork()
    if not child:
        train(folder, how)
    if "after" in how:
        time.sleep(how["after"])
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([status, time.monotonic() - began]), flush=True)
"""


class Trainer:
    """Starts trainings and says how they ended."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", SCRIPT, json.dumps(CONTENT)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def __call__(self, folder: Path, **how: Any) -> tuple[int, float, str]:
        """Exit code, seconds, and what was said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([str(folder), how]), file=self.process.stdin, flush=True)
        said = []
        while not (line := self.process.stdout.readline()).startswith("["):
            assert line, "the process that starts trainings has ended"
            said.append(line)
        status, seconds = json.loads(line)
        return status, seconds, "".join(said)


@pytest.fixture(scope="module")
def train() -> Iterator[Trainer]:
    trainer = Trainer()
    yield trainer
    assert trainer.process.stdin is not None
    trainer.process.stdin.close()
    trainer.process.wait()


@pytest.fixture(scope="module")
def whole(train: Trainer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, float]:
    """A run that nobody has disturbed, how often it touched its files, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    log = folder / "log"
    status, seconds, _ = train(folder / "run", log=str(log))
    assert status == 0
    return folder / "run", len(log.read_bytes()), seconds


def assert_same(found: Path, expected: Path) -> None:
    models = [rk.load(folder / "model.safetensors") for folder in (found, expected)]
    for name, value in models[1].generator.state_dict().items():
        assert torch.equal(models[0].generator.state_dict()[name], value), name
    assert models[0].scores == models[1].scores
    assert history(found / "history.jsonl") == history(expected / "history.jsonl")
    assert (found / "report.png").exists()
    assert not list(found.glob(".*"))
    states = [load_file(folder / checkpoint.NAME) for folder in (found, expected)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name
    assert metadata(found) == metadata(expected)


def metadata(folder: Path) -> dict[str, Any]:
    with safe_open(folder / checkpoint.NAME, framework="pt") as opened:
        return {key: json.loads(value) for key, value in opened.metadata().items()}


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_killed_at_a_file_operation(share: float, train: Trainer, whole: tuple[Path, int, float], tmp_path: Path) -> None:
    expected, events, _ = whole
    assert events > 20
    status, _, _ = train(tmp_path / "run", event=round(share * events))
    assert status == -9
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert train(tmp_path / "run")[0] == 0
    assert_same(tmp_path / "run", expected)


@pytest.mark.slow
def test_killed_at_every_file_operation(train: Trainer, whole: tuple[Path, int, float], tmp_path: Path) -> None:
    expected, events, _ = whole
    for event in range(1, events + 1):
        folder = tmp_path / str(event)
        assert train(folder, event=event)[0] == -9
        if (folder / "report.png").exists():
            continue  # all that was left to do is done
        assert train(folder)[0] == 0, event
        assert_same(folder, expected)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(train: Trainer, whole: tuple[Path, int, float], tmp_path: Path) -> None:
    expected, _, seconds = whole
    draw = random.Random(0)
    killed = 0
    for number in range(1000):
        folder = tmp_path / str(number)
        status, _, _ = train(folder, after=draw.uniform(0, seconds))
        killed += status == -9
        if status == -9:  # and once more in what is resumed
            train(folder, after=draw.uniform(0, seconds))
        status, _, said = train(folder)
        assert status == 0, said
        assert_same(folder, expected)
        shutil.rmtree(folder)
        if killed == 20:
            return
    pytest.fail("hardly any run was killed before its end")


def test_a_disk_that_takes_no_more(train: Trainer, whole: tuple[Path, int, float], tmp_path: Path) -> None:
    """By a limit on the size of files: the system refuses to write, as it does when the disk is full."""
    folder = tmp_path / "run"
    size = (whole[0] / checkpoint.NAME).stat().st_size // 2
    status, _, said = train(folder, limit=[5, size])
    assert status == 2
    assert "stopped at step 6" in said
    assert "The checkpoint before is whole: make room or give the right to write, then add --resume to go on" in said
    assert not list(folder.glob(".*"))
    assert train(folder)[0] == 0
    assert_same(folder, whole[0])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("room", [0.5, 1.5, 2.5, 3.5])
def test_a_full_disk(room: float, train: Trainer, whole: tuple[Path, int, float], tmp_path: Path) -> None:
    """A disk that has room for so many checkpoints."""
    disk, size = tmp_path / "disk", round(room * (whole[0] / checkpoint.NAME).stat().st_size) + 40_000
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        status, _, said = train(disk / "run")
        assert status == 2, said
        assert "No space left on device" in said
        subprocess.run(["mount", "-o", f"remount,size={100 * size}", str(disk)], check=True)
        assert train(disk / "run")[0] == 0
        assert_same(disk / "run", whole[0])
    finally:
        subprocess.run(["umount", str(disk)], check=False)
