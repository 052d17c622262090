"""Work that is shared among processes. Each takes seconds to start, so most of this is slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from restorekit import bench, processes
from restorekit.bench import results, spread
from restorekit.bench.job import Job
from restorekit.bench.run import run
from restorekit.errors import UserError
from restorekit.registries import Registry

WriteSuite = Callable[..., str]
METHODS = ("core/tv-denoise", "core/nlm-denoise")


def rows(folder: Path) -> bytes:
    """The rows, times aside, as bytes."""
    lines = []
    for line in (folder / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        lines.append(json.dumps({key: value for key, value in row.items() if key not in results.MEASURED}))
    return "\n".join(lines).encode()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["devices", "torchrun", "isolate"])
def test_several_processes_give_the_rows_of_one(tmp_path: Path, suite: str, how: str) -> None:
    options = [*(word for method in METHODS for word in ("--method", method)), "--threads", "1", "--device", "cpu", "--out"]
    command = ["-m", "restorekit", "bench", "run", suite, *options]
    subprocess.run([sys.executable, *command, str(tmp_path / "one")], check=True, capture_output=True)
    several = {
        "devices": [sys.executable, *command, str(tmp_path / "two"), "--devices", "2"],
        "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *command, str(tmp_path / "two")],
        "isolate": [sys.executable, *command, str(tmp_path / "two"), "--isolate"],
    }[how]
    done = subprocess.run(several, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert rows(tmp_path / "two") == rows(tmp_path / "one")
    assert done.stdout.count("Written: ") == 1
    about = results.manifest(tmp_path / "two")
    assert {entry["threads"] for entry in about["methods"].values()} == {1}
    assert bench.diff(tmp_path / "one", tmp_path / "two").same


@pytest.mark.slow
def test_a_method_whose_process_dies_does_not_take_the_others_along(tmp_path: Path, suite: str) -> None:
    mine = tmp_path / "mine.py"
    ready = str(tmp_path / "ready")
    mine.write_text(f"import os\ndef deadly(image):\n    if not os.path.exists({ready!r}): os.kill(os.getpid(), 9)\n    return image\n")
    job = Job(suite=suite, methods=(f"{mine}:deadly", "core/tv-denoise"), out=tmp_path / "out", isolate=True, device="cpu")
    run(job)
    found = {row["method"]: (row["status"], row["reason"]) for row in bench.rows(tmp_path / "out")}
    assert found["deadly"] == ("failed", "the process ended with SIGKILL")
    assert found["core/tv-denoise"] == ("ok", "")
    (tmp_path / "ready").touch()
    run(job)  # a death says nothing of the method: it is tried again
    assert {row["status"] for row in bench.rows(tmp_path / "out")} == {"ok"}


def test_a_function_of_this_process_cannot_go_to_another(tmp_path: Path, suite: str, registry: Registry) -> None:
    from restorekit.bench.contenders import Function

    with pytest.raises(UserError, match=r"FILE\.py:FUNCTION"):
        run(Job(suite=suite, methods=(Function("f", lambda image: image, ""),), out=tmp_path / "out", devices=2, registry=registry))


def test_a_method_that_changes_while_processes_start_is_not_scored(
    tmp_path: Path, suite: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "join", lambda kind: SimpleNamespace(device=torch.device(kind), global_rank=0, world_size=1))
    job = Job(suite=suite, methods=("test/smooth",), out=tmp_path / "out", registry=registry)
    with pytest.raises(UserError, match=r"test/smooth: code or weights changed"):
        spread._worker(job, {"test/smooth": "0" * 64}, "cpu")
    assert not (tmp_path / "out" / "cells").exists()
