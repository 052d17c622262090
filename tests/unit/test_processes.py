"""Several processes: who they are, and what happens when one of them ends early. None of these imports torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from restorekit import processes
from restorekit.errors import UserError
from restorekit.processes import Crew, Ending

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in NAMES or name.startswith("SLURM_"):
            monkeypatch.delenv(name)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
SRUN = {**BATCH, "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Crew()),
        (TORCHRUN, Crew(3, 4, 2, "torchrun")),
        ({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}, Crew()),
        ({name: value for name, value in TORCHRUN.items() if name != "TORCHELASTIC_RUN_ID"}, Crew()),
        (SRUN, Crew(2, 4, 2, "srun")),
        (BATCH, Crew()),
    ],
    ids=["nothing", "torchrun", "torchrun with one", "somebody else's variables", "srun", "a batch script"],
)
def test_who_started_this_process(environment: dict[str, str], expected: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.crew() == expected
    assert processes.is_first() is (expected.rank == 0)


def test_unequal_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SRUN, "SLURM_STEP_NUM_TASKS": "5"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="srun --ntasks-per-node"):
        processes.crew()


def test_slurm_has_to_know_the_number_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="srun --ntasks-per-node=2"):
        processes.join("cpu")


@pytest.mark.parametrize("environment", [BATCH, {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}], ids=["a batch script", "torchrun"])
def test_one_process_needs_no_launcher(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.join("cpu").world_size == 1


@pytest.mark.parametrize(("devices", "nodes", "start"), [(None, None, False), (1, 1, False), (2, None, True), (None, 2, True)])
def test_processes_are_started_where_they_are_wanted(devices: int | None, nodes: int | None, start: bool) -> None:
    assert processes.wanted(devices, nodes) is start


def test_options_that_contradict_the_launcher_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert processes.wanted(None, None) is False
    assert processes.wanted(2, 2) is False
    with pytest.raises(UserError, match=r"--devices 4: torchrun has started 2 processes on this machine"):
        processes.wanted(4, None)
    with pytest.raises(UserError, match=r"--nodes 1: torchrun has started 2 machines"):
        processes.wanted(None, 1)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from restorekit import processes

def work(folder, how):
    crew = processes.crew()
    while crew.rank and not Path(folder, "0").exists():
        time.sleep(0.02)
    print("out", crew.rank, flush=True)
    print("error: said by", crew.rank, file=sys.stderr, flush=True)
    Path(folder, str(crew.rank)).write_text(str(os.getpid()))
    if how == "fine":
        return 0
    if how == "fails" and crew.rank == 1:
        return 2
    if how == "is killed" and crew.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "signalled":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        Path(folder, f"{crew.rank} ready").touch()
    time.sleep(120)

if __name__ == "__main__":
    processes.GRACE = 0.3  # those that sleep need no longer
    print(processes.start(work, (sys.argv[1], sys.argv[2]), count=2), file=sys.stderr)
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[list[str]]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    yield [sys.executable, str(path), str(tmp_path)]
    for rank in "01":  # in case a test has failed
        if (tmp_path / rank).is_file() and is_running(int((tmp_path / rank).read_text())):
            os.kill(int((tmp_path / rank).read_text()), signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it goes between opening and reading
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("how", "ending"),
    [
        ("fine", None),
        ("fails", Ending("process 2 of 2", 2, "said by 1")),
        ("is killed", Ending("process 2 of 2", -signal.SIGKILL, "said by 1")),
    ],
)
def test_how_they_end(how: str, ending: Ending | None, script: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*script, how], capture_output=True, text=True, check=True)
    assert done.stdout == "out 0\n", "only the first prints"
    assert done.stderr == f"error: said by 0\n{ending}\n"
    assert not any(is_running(int((tmp_path / rank).read_text())) for rank in "01")


def test_what_the_first_has_said_is_not_said_again(tmp_path: Path, script: list[str]) -> None:
    path = Path(script[1])
    path.write_text(SCRIPT.replace('how == "fails" and crew.rank == 1', 'how == "fails"').replace("GRACE = 0.3", "GRACE = 60"))
    done = subprocess.run([*script, "fails"], capture_output=True, text=True, check=True)
    assert done.stderr == f"error: said by 0\n{Ending('process 1 of 2', 2, '')}\n"


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_signals_are_passed_on(script: list[str], tmp_path: Path) -> None:
    parent = subprocess.Popen([*script, "signalled"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for rank in "01":
        wait_for(tmp_path / f"{rank} ready")
    parent.send_signal(signal.SIGTERM)
    assert parent.communicate()[1].endswith(f"{Ending('process 1 of 2', 5, '')}\n")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc to look into")
def test_they_end_when_their_parent_is_killed(script: list[str], tmp_path: Path) -> None:
    parent = subprocess.Popen([*script, "sleeps"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for rank in "01":
        wait_for(tmp_path / rank)
    pids = [int((tmp_path / rank).read_text()) for rank in "01"]
    parent.kill()
    parent.wait()
    while any(map(is_running, pids)):  # a test that fails here never ends, whatever the load
        time.sleep(0.02)


def test_how_an_ending_is_put() -> None:
    assert Ending("", -9, "").how == "with SIGKILL"
    assert Ending("", 1, "").how == "with exit code 1"


def test_several_machines_need_a_meeting_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "host")
    with pytest.raises(UserError, match=r"--nodes 2: MASTER_PORT, NODE_RANK not set.*or use torchrun or srun"):
        processes.start(print, count=1, nodes=2)


def test_other_faults_are_not_taken_for_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="shapes"), processes.lost():
        raise RuntimeError("shapes do not fit")
    with pytest.raises(processes.LostError, match=r"another of the 4 processes .* add --resume"), processes.lost():
        raise RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:554] Connection closed by peer [127.0.0.1]:1")
