"""Several processes train as one does: the same batch, the same result, and only the first writes. On the processor, by gloo."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import restorekit as rk
from restorekit.engine import checkpoint
from restorekit.engine.callbacks import history
from restorekit.processes import STARTED

STEPS = 20
# No batch norm and no dropout, of which each process sees and draws its own; and a generator whose weights all have an effect:
# those before an instance norm have none, so that AdamW walks off with them as rounding has it.
SUPERVISED: dict[str, Any] = {
    "recipe": 1,
    "task": "deblur",
    "degradation": [{"part": "core/camera-shake", "length": [3, 7]}, {"part": "core/gaussian-noise", "sigma": 0.05}],
    "generator": {"part": "deblurgan/compact", "width": 8, "blocks": [1], "middle": 1},
    "losses": ["core/charbonnier"],
    "data": {"train": "bundled", "crop": 32, "batch": 4, "sharp_share": 0.2, "validation_images": 3, "holdout": 0.4},
    "train": {"steps": STEPS, "precision": "fp32", "validate_every": 10, "checkpoint_every": 5, "ema": 0.5, "watch_every": 5},
}
CRITIC = {"part": "deblurgan/patch70", "width": 4}


def adversarial(objective: str, **train: Any) -> dict[str, Any]:
    changed = {**SUPERVISED["train"], **train}
    return {**SUPERVISED, "critic": CRITIC, "adversarial": {"part": objective, "weight": 0.1}, "train": changed}


# The last one is trained once more, stopped and resumed. A gradient penalty draws something else in each process.
FAST = {"supervised": SUPERVISED, "core/ragan-ls": adversarial("core/ragan-ls")}
SLOW = {part.name: adversarial(part.name, critic_steps=2) for part in rk.registry().of_kind("adversarial") if part.name not in FAST}
SLOW = {"by parts": SUPERVISED | {"train": {**SUPERVISED["train"], "micro_batches": 2}}, **SLOW}
DRAWS = "core/wgan-gp"

SCRIPT = """
import atexit, contextlib, json, os, signal, sys
from pathlib import Path
import restorekit as rk
from restorekit.engine.callbacks import Callback
from restorekit.errors import TrainingError

class StopAfter(Callback):
    def step(self, step, terms, **more):
        if step == 13 and os.environ["RANK"] == "1":  # asked of one, and all of them stop
            signal.raise_signal(signal.SIGTERM)

def left():
    print("threads at the end:", end=" ")
    for name in Path("/proc/self/task").glob("*/comm"):  # on Linux
        with contextlib.suppress(OSError):  # of a thread that has just gone
            print(name.read_text().strip(), end=" ")

atexit.register(left)  # before anything of ours, so called after it
out = Path(sys.argv[1])
for name, content in json.loads(sys.argv[2]).items():
    rk.train(rk.recipe(content), out=out / name.replace("/", "-"), device="cpu")
try:
    rk.train(rk.recipe(content), out=out / "resumed", device="cpu", callbacks=[StopAfter()])
except TrainingError as fault:
    print(fault)
rk.train(rk.recipe(content), out=out / "resumed", device="cpu", resume=True)
"""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def beside_each_other(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> list[subprocess.CompletedProcess[str]]:
    """Processes that are started at once and waited for."""
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**common, **own}) for own in environments]
    said = [process.communicate() for process in started]
    return [subprocess.CompletedProcess(command, p.returncode, *s) for p, s in zip(started, said, strict=True)]


def ranks(world: int) -> list[dict[str, str]]:
    common = {STARTED: "1", "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "GROUP_RANK": "0"}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def trained(folder: Path, recipes: Mapping[str, Any]) -> Path:
    """The folders of recipes as two processes have trained them."""
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), json.dumps(recipes)]
    for done in beside_each_other(command, ranks(2)):
        assert done.returncode == 0, done.stderr
        assert f"stopped after 13 of {STEPS} steps" in done.stdout
        _, looked, threads = done.stdout.partition("threads at the end:")
        assert looked
        assert "gloo" not in threads, threads  # one that outlives the interpreter can abort the process
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("both"), FAST)


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("rest"), SLOW)


def outputs(model: rk.Model) -> torch.Tensor:
    with torch.no_grad():
        return model.generator(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def check(content: Mapping[str, Any], two_in: Path, one_in: Path) -> None:
    one, two = rk.train(rk.recipe(content), out=one_in, device="cpu"), rk.load(two_in / "model.safetensors")
    assert float((outputs(two) - outputs(one)).abs().max()) < 1e-4
    assert two.scores == pytest.approx(one.scores, abs=1e-3)
    expected, found = (history(folder / "history.jsonl") for folder in (one_in, two_in))
    assert [sorted(entry) for entry in found] == [sorted(entry) for entry in expected]
    for mine, theirs in zip(expected, found, strict=True):
        for key in ("terms", "scores"):
            assert theirs.get(key, {}) == pytest.approx(mine.get(key, {}), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", FAST)
def test_two_processes_give_the_model_of_one(name: str, both: Path, tmp_path: Path) -> None:
    check(FAST[name], both / name.replace("/", "-"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SLOW if name != DRAWS])
def test_two_processes_give_the_model_of_one_for_every_objective(name: str, rest: Path, tmp_path: Path) -> None:
    check(SLOW[name], rest / name.replace("/", "-"), tmp_path)


def test_the_same_within_so_little_is_not_for_want_of_learning(both: Path) -> None:
    untrained = rk.registry().create("generator", "deblurgan/compact", width=8, blocks=(1,), middle=1)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    trained_outputs = outputs(rk.load(both / "core-ragan-ls" / "model.safetensors"))
    with torch.no_grad():
        assert float((trained_outputs - untrained(images)).abs().max()) > 1e-2


def test_only_the_first_writes(both: Path) -> None:
    for folder in both.iterdir():
        written = {path.name for path in folder.iterdir()}
        assert written == {"model.safetensors", "history.jsonl", "report.png", "tensorboard", checkpoint.NAME, "checkpoint-15.safetensors"}
        logs = 2 if folder.name == "resumed" else 1
        assert len(list((folder / "tensorboard").iterdir())) == logs


def test_two_processes_resume_exactly(both: Path) -> None:
    whole, resumed = (rk.load(both / name / "model.safetensors") for name in ("core-ragan-ls", "resumed"))
    for name, value in whole.generator.state_dict().items():
        assert torch.equal(value, resumed.generator.state_dict()[name]), name


def cli(folder: Path, *more: str, steps: int = STEPS) -> list[str]:
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        recipe.write_text(json.dumps(adversarial("core/ragan-ls")))
    command = [sys.executable, "-m", "restorekit", "train", str(recipe), "--device", "cpu", "--out", str(folder / "run"), "--json"]
    return [*command, "--set", f"train.steps={steps}", *more]


SLURM = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS_PER_NODE": "2",
}
SRUN = [{**SLURM, "SLURM_JOB_ID": "20001", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
TWO_NODES = [{"NODE_RANK": str(rank)} for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["devices", "torchrun", "srun", "nodes"])
def test_every_way_to_start_them(how: str, tmp_path: Path) -> None:
    one = rk.train(rk.recipe(adversarial("core/ragan-ls")), device="cpu")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    command, environments = {
        "devices": (cli(tmp_path, "--devices", "2"), [{}]),
        "torchrun": ([*torchrun, *cli(tmp_path)[1:]], [{}]),
        "srun": (cli(tmp_path, "--devices", "2"), SRUN),
        "nodes": (cli(tmp_path, "--nodes", "2"), TWO_NODES),
    }[how]
    done = beside_each_other(command, environments)
    assert [one.returncode for one in done] == [0] * len(done), done
    reported = json.loads("".join(one.stdout for one in done))  # one report, by the first
    assert reported["out"] == str(tmp_path / "run")
    assert float((outputs(rk.load(reported["model"])) - outputs(one)).abs().max()) < 1e-4


@pytest.mark.slow
def test_a_process_that_dies_ends_all_and_the_run_goes_on(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    run = subprocess.Popen(cli(tmp_path, "--devices", "2", steps=10_000), stdout=pipe, stderr=pipe, text=True)
    while not (tmp_path / "run" / checkpoint.NAME).exists():
        assert run.poll() is None
        time.sleep(0.1)
    children = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    processes = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(processes) == 2
    os.kill(max(processes), signal.SIGKILL)
    _, said = run.communicate()
    assert run.returncode == 2
    assert "process 2 of 2 ended with SIGKILL, and the others were stopped; add --resume to go on" in said
    assert "Traceback" not in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    done = max((entry["step"] for entry in history(tmp_path / "run" / "history.jsonl")), default=0) + 20
    subprocess.run(cli(tmp_path, "--devices", "2", "--resume", steps=done), check=True, capture_output=True)
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_mistake_is_said_once(tmp_path: Path) -> None:
    run = subprocess.run(cli(tmp_path, "--devices", "3"), capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.splitlines() == ["error: data.batch: 4 cannot be divided equally among 3 processes; set data.batch"]
    assert not (tmp_path / "run").exists()
