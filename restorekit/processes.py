"""Several processes that work on one thing: who has started them, how they find each other, and what is said when one ends early.

They are started by torchrun, by SLURM's srun, or by `start`. Nothing heavy is imported with this module, since whether there
are several is asked before anything else.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import gc
import logging
import multiprocessing
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from restorekit.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STARTED = "RESTOREKIT_PROCESS"
"""Environment variable of the processes that `start` starts, which otherwise have those of torchrun."""

PATIENCE = datetime.timedelta(days=30)
"""How long a process waits for the slowest; half an hour, torch's default, is too short."""

GRACE = 10.0
"""Seconds that the others get to end on their own after one has, and again after they were asked to."""

_LOST = re.compile(r"gloo|nccl|tcpstore|connection (closed|reset)|broken pipe|socket", re.IGNORECASE)
"""What errors of communication have in their text; gloo's have no class of their own."""


class LostError(UserError):
    """Another process has ended, or can no longer be reached."""

    exit_code = 3


@dataclass(frozen=True)
class Crew:
    """The processes of which this is one.

    Attributes:
        rank: number of this process, from 0.
        world: how many there are.
        local: how many on this machine.
        by: what has started them: ``torchrun``, ``srun``, ``restorekit``, or empty where this one is alone.
    """

    rank: int = 0
    world: int = 1
    local: int = 1
    by: str = ""


def crew() -> Crew:
    """The processes of which this is one, as the environment has it.

    Raises:
        UserError: SLURM has not the same number of processes on each machine.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env or STARTED in env:
        found = Crew(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"]), "restorekit" if STARTED in env else "torchrun")
        return found if found.world > 1 else Crew()
    # Not SLURM_NTASKS, which a batch script has too although it is one process.
    world = int(env.get("SLURM_STEP_NUM_TASKS", "1"))
    if world == 1:
        return Crew()
    nodes = int(env.get("SLURM_STEP_NUM_NODES", env.get("SLURM_NNODES", "1")))
    if world % nodes:
        raise UserError(f"SLURM has started {world} processes on {nodes} nodes; start the same number on each: srun --ntasks-per-node=N")
    return Crew(int(env["SLURM_PROCID"]), world, world // nodes, "srun")


def cores() -> int:
    """The processor's cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return crew().rank == 0


def wanted(devices: int | None, nodes: int | None) -> bool:
    """Whether processes have to be started for ``--devices`` and ``--nodes``, which are None where they were not given.

    Raises:
        UserError: other numbers have been started already.
    """
    found = crew()
    if found.world == 1:
        return (devices or 1) * (nodes or 1) > 1
    for option, asked, there in (("--devices", devices, found.local), ("--nodes", nodes, found.world // found.local)):
        if asked not in (None, there):
            what = "processes on this machine" if option == "--devices" else "machines"
            raise UserError(f"{option} {asked}: {found.by} has started {there} {what}; leave the option out, or make them equal")
    return False


def join(kind: str) -> Fabric:
    """What joins the processes, each on a device of its own; one process is just itself.

    Args:
        kind: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        UserError: there are more processes on this machine than devices, or the others do not answer.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    found = crew()
    if found.world == 1:
        return Fabric(accelerator=kind, devices=1, plugins=[LightningEnvironment()])  # whatever launcher is around
    check_devices(kind, found.local)
    if found.by == "srun" and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UserError(f"SLURM: say how many processes a machine gets: srun --ntasks-per-node={found.local}")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would announce its ranks on the terminal
    environment = SLURMEnvironment() if found.by == "srun" else TorchElasticEnvironment()
    strategy = DDPStrategy(cluster_environment=environment, timeout=PATIENCE)
    fabric: Fabric = Fabric(accelerator=kind, devices=found.local, num_nodes=found.world // found.local, strategy=strategy)
    with lost():
        fabric.launch()
    atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Part in order: gloo's threads that still run when the interpreter goes can abort the process."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
        gc.collect()  # DDP's wrappers lie in cycles and hold the group and so its threads


def check_devices(kind: str, count: int) -> None:
    """Check that this machine has `count` devices of a kind; the processor takes any number of processes.

    Raises:
        UserError: it has fewer.
    """
    if kind == "cpu":
        return
    import torch

    there = torch.cuda.device_count() if kind == "cuda" else 1
    if count > there:
        raise UserError(f"--devices {count}: this machine has {there} of the kind {kind}. Ask for no more than that, or --device cpu")


@contextlib.contextmanager
def lost() -> Iterator[None]:
    """Turn a failure to reach the other processes into a message.

    Raises:
        LostError: one of them has ended.
    """
    try:
        yield
    except RuntimeError as fault:
        found = crew()
        if found.world == 1 or not _LOST.search(f"{type(fault).__name__} {fault}"):
            raise
        raise LostError(f"stopped: another of the {found.world} processes has ended or cannot be reached; add --resume to go on") from fault


@dataclass(frozen=True)
class Ending:
    """How a process ended that ended early.

    Attributes:
        who: ``process 2 of 4``.
        code: its exit code; negative where a signal ended it.
        said: what it wrote on its standard error that nobody has seen yet.
    """

    who: str
    code: int
    said: str

    @property
    def how(self) -> str:
        """``with SIGKILL`` or ``with exit code 1``."""
        return f"with {signal.Signals(-self.code).name}" if self.code < 0 else f"with exit code {self.code}"


def start(work: Callable[..., int | None], args: tuple[Any, ...] = (), *, count: int, nodes: int = 1) -> Ending | None:
    """Call ``work(*args)`` in `count` new processes and wait for them; if one ends early, all do.

    The first writes to the terminal; what the others say is kept and shown if one of them is the first to end early.
    SIGINT and SIGTERM are passed on. On several machines each is to call this, with ``MASTER_ADDR``, ``MASTER_PORT`` and
    ``NODE_RANK`` in its environment.

    Args:
        work: a function that another process can import; returns its exit code. A `UserError` is written to its
            standard error.
        args: values that can be pickled.
        count: of processes on this machine.
        nodes: number of machines.

    Returns:
        The one that ended early and why, or None if all went well.

    Raises:
        UserError: several machines and no way to find each other.
    """
    place = _meeting_place(nodes)
    node = int(place["NODE_RANK"])
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as kept:
        said = [Path(kept) / str(rank) for rank in range(count)]
        started: list[SpawnProcess] = []
        with _passed_on(started):
            for local in range(count):
                own = {"RANK": node * count + local, "LOCAL_RANK": local, "WORLD_SIZE": nodes * count, "LOCAL_WORLD_SIZE": count}
                process = context.Process(target=_begin, args=(work, args, str(said[local]) if node + local else None))
                with _environment({**place, **{name: str(value) for name, value in own.items()}, STARTED: "1", **_threads(count)}):
                    process.start()
                started.append(process)
            first = _first_to_fail(started)
            if first is None:
                return None
            code = started[first].exitcode or 0
            _end(started)
        speaker = started[0].exitcode or 0
        if node == 0 and speaker > 0 and (first == 0 or speaker != LostError.exit_code):
            return Ending(f"process 1 of {nodes * count}", speaker, "")  # it has said what is wrong, for all of them
        words = said[first].read_text(errors="replace").strip() if said[first].is_file() else ""
        return Ending(f"process {node * count + first + 1} of {nodes * count}", code, words.removeprefix("error: "))


def _meeting_place(nodes: int) -> dict[str, str]:
    needed = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
    absent = [name for name in needed if name not in os.environ]
    if nodes > 1:
        if absent:
            raise UserError(
                f"--nodes {nodes}: {', '.join(absent)} not set. Start the same command on each machine with the address and a free "
                "port of the first and the machine's number from 0: MASTER_ADDR=host MASTER_PORT=29500 NODE_RANK=0 restorekit ..., "
                "or use torchrun or srun"
            )
        return {name: os.environ[name] for name in needed} | {"GROUP_RANK": os.environ["NODE_RANK"]}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "NODE_RANK": "0", "GROUP_RANK": "0"}


def _threads(count: int) -> dict[str, str]:
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cores() // count))}  # as many for each would only get in each other's way


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set while a process starts, so that it has them before it imports anything."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _passed_on(started: list[SpawnProcess]) -> Iterator[None]:
    """Signals that ask for an end go to all, and this process waits for what they do."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in started:
            if process.pid is not None and process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_to_fail(started: list[SpawnProcess]) -> int | None:
    """Wait, and return the index of the process that is the first to end early, one that was killed before others."""
    running = set(range(len(started)))
    while running:
        ready = connection.wait([started[index].sentinel for index in running])
        ended = [index for index in running if started[index].sentinel in ready]
        for index in ended:
            started[index].join()
        failed = [index for index in ended if started[index].exitcode]
        if failed:
            return min(failed, key=lambda index: started[index].exitcode or 0)
        running -= set(ended)
    return None


def _end(started: list[SpawnProcess]) -> None:
    """Wait for the rest, then ask it to end, then make it."""
    for act in (None, SpawnProcess.terminate, SpawnProcess.terminate, SpawnProcess.kill):
        for process in started:
            if act is not None and process.is_alive():
                act(process)
        deadline = time.monotonic() + GRACE
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))


def _begin(work: Callable[..., int | None], args: tuple[Any, ...], said: str | None) -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if said is not None:
        sys.stdout.flush()
        kept = os.open(said, os.O_WRONLY | os.O_CREAT)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(kept, 2)
    try:
        sys.exit(work(*args))
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(fault.exit_code)


def _end_with_the_parent() -> None:
    """A process whose parent was killed would go on unseen, and write into a folder that another run takes up."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
