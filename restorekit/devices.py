"""Which device to compute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorekit.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def pick(device: str = "auto") -> torch.device:
    """The device that `device` asks for; ``auto`` takes CUDA, then MPS, then the processor.

    Raises:
        UserError: it is not there, or no such device is known.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, present in there.items() if present))
    kind = device.partition(":")[0]
    if kind not in there:
        raise UserError(f"--device {device}: not a device. Devices: {', '.join(DEVICES)}")
    if not there[kind]:
        present = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"--device {device}: this machine has none that torch can use. Present: {present}")
    return torch.device(device)
