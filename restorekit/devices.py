"""Which device to compute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorekit.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def has_bf16(device: torch.device) -> bool:
    """Whether `device` has instructions for bfloat16; without them it is emulated, ten times slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch has no public question for the processor's.
    there = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and there


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
