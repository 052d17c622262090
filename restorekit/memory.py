"""How much memory a network takes, how much there is, and how far a network looks: what the size of tiles follows from."""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from restorekit.errors import UserError

_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("memory limit", default=None)

SPARE = 0.5
"""Share of the free memory that is used where no limit was given: others need some, too."""

WORKSPACE = 3
"""Times the tensors' memory: kernels copy what goes in and comes out into layouts of their own. With 1.5 a network of 8 channels
took 300 MiB more than it was allowed."""

LAVISH = 1 << 15
"""Bytes for each pixel, more than networks take: what has so much room is not measured first."""

UNTOLD = 1 << 29
"""Bytes that the process is taken to have where the system does not tell (Windows)."""

SYSTEM = Path("/")
"""Under which Linux tells of its memory."""

PROBE = 128
"""Side in pixels of the picture on which a network's memory is measured."""

SPANS = (64, 128, 256)
"""Sides of the pictures on which a receptive field is looked for."""


@contextlib.contextmanager
def limited(limit: int | None) -> Iterator[None]:
    """Keep the process under `limit` bytes of memory, as far as networks decide about it; None is half of what is free.

    On a GPU it is about the GPU's memory, and there about tensors: its driver takes some besides.
    """
    before = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(before)


def is_limited() -> bool:
    """Whether the block that runs is inside one of `limited`."""
    return _limit.get() is not None


def room(device: torch.device, result: int, *, least: int | None = None) -> float:
    """Bytes that a network may use now, once `result` bytes are set aside for what it makes.

    Raises:
        UserError: fewer than `least` are left of a limit; None does not ask.
    """
    limit, on_gpu = _limit.get(), device.type == "cuda"
    if limit is None:
        free = torch.cuda.mem_get_info(device)[0] if on_gpu else _available()
        return float("inf") if free is None else SPARE * free - result
    left = limit - (torch.cuda.memory_allocated(device) if on_gpu else _resident()) - result
    if least is not None and left < least:
        needed = -(-(limit - left + least) // 2**20)
        raise UserError(f"--memory: {limit >> 20} MiB are too few for this picture; give at least {needed} MiB, or cut it into parts")
    return left


def ran_out(fault: Exception) -> bool:
    """Whether `fault` says that memory ran out; on the processor torch has no class of its own for it."""
    return isinstance(fault, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(fault)


def peak(function: Callable[[], Any]) -> int:
    """Bytes that the tensors which `function` makes take at the same time at most."""
    tensors = _Tensors()
    with torch.no_grad(), tensors:
        function()
    return tensors.most


class _Tensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To skip it torch would first import it: 150 MiB and some seconds."""
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


def reach(network: Callable[[Tensor], Tensor], *, channels: int, scale: int = 1, multiple_of: int = 1, minimum: int = 1) -> int | None:
    """How many pixels from an output pixel the input still has an influence, measured by gradient.

    Args:
        network: takes ``(1, C, H, W)`` and gives ``(1, C', scale·H, scale·W)``.
        channels: C.
        scale: height of the output over height of the input.
        multiple_of: sizes that it takes.
        minimum: the smallest of them.

    Returns:
        None where it is further than can be looked for.
    """
    generator = torch.Generator().manual_seed(0)

    def legal(length: int) -> int:
        return max(length, minimum) + -max(length, minimum) % multiple_of

    for span in SPANS:
        long, short = legal(span), legal(SPANS[0])  # not square, since a gradient takes memory for all of a picture
        radii = []
        for axis, shape in enumerate(((long, short), (short, long))):
            image = torch.rand(1, channels, *shape, generator=generator).requires_grad_()
            start = [side // 2 // multiple_of * multiple_of for side in shape]
            rows, columns = (slice(first * scale, (first + multiple_of) * scale) for first in start)
            with torch.enable_grad():
                made = network(image)[..., rows, columns]
                (gradient,) = torch.autograd.grad((made * torch.randn(made.shape, generator=generator)).sum(), image)
            at = gradient.abs().sum((0, 1)).nonzero()[:, axis]
            radii.append(max(0, int(torch.maximum(start[axis] - at, at - start[axis] - multiple_of + 1).max())) if len(at) else 0)
        if max(radii) < long // 2 - multiple_of:
            return max(radii)
    return None


def _resident() -> int:
    """Bytes of memory that the process has now; at most so far, where the system tells no more."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return UNTOLD
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _available() -> int | None:
    """Bytes that are free on the machine, or in the container that the process is in."""
    try:
        lines = (SYSTEM / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
    inside = _contained()
    return free if inside is None or free is None else min(free, inside)


def _contained() -> int | None:
    """Bytes that the control group of the process, or one around it, leaves it: it is killed when it takes more.

    What the group has read from files counts as taken until it is needed, and is free here.
    """
    left: list[int] = []
    try:
        groups = [line.split(":", 2) for line in (SYSTEM / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in (group for group in groups if len(group) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        root = SYSTEM / "sys/fs/cgroup" / ("memory" if version == 1 else "")
        limit, used = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
        own = root / path.lstrip("/")
        around = [own, *(group for group in own.parents if group.is_relative_to(root))]
        for group in around if own.is_dir() else [root]:  # a container sees its own group as the root
            with contextlib.suppress(OSError, ValueError):  # a group that has no bound, or says "max"
                most = int((group / limit).read_text())
                cached = re.search(r"^(?:total_)?inactive_file (\d+)", (group / "memory.stat").read_text(), re.MULTILINE)
                left.append(most - int((group / used).read_text()) + (int(cached[1]) if cached else 0))
    return max(0, min(left)) if left else None
