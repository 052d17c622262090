"""Seeds from names, and random draws that leave the global state alone."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derive(*names: object) -> int:
    """A 63-bit seed from any values with a stable text form: the same values give the same seed everywhere."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: object) -> torch.Generator:
    """A CPU random generator seeded with `derive`."""
    return torch.Generator().manual_seed(derive(*names))


@contextlib.contextmanager
def seeded(*names: object) -> Iterator[None]:
    """Seed torch's global generators inside the block and put back their state after it."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(*names))
        yield
