"""Blur by measured kernels, read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restorekit import photos
from restorekit.builtin.blurs import Blur
from restorekit.builtin.psf import trim
from restorekit.errors import UserError, did_you_mean


class PsfFile(Blur):
    """Blur by a kernel from a file, such as those that were measured of real camera shake.

    The kernel is moved so that its centroid is its centre: the blurred picture then lies on the sharp one, and
    methods that do not know the kernel can be scored. The fraction of a pixel is moved with bilinear weights,
    which smooths the kernel a little; the recorded PSF is the moved one.

    Args:
        file: ``.npy``, ``.npz``, or a picture of the kernel.
        kernel: which array of a ``.npz``; None draws one of them for each image.

    Raises:
        UserError: no such file or array, or no kernel in it.
    """

    def __init__(self, *, file: Path, kernel: str | None = None) -> None:
        kernels = _kernels(file)
        if kernel is not None and kernel not in kernels:
            raise UserError(f"{file}: has no kernel {kernel!r}.{did_you_mean(kernel, kernels)} There are: {', '.join(kernels)}")
        chosen = [centred(value) for name, value in kernels.items() if kernel in (None, name)]
        self.margin = max(one.shape[-1] for one in chosen) // 2
        self._psfs = torch.stack([_framed(one, self.margin) for one in chosen])

    def draw_psf(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw `n` of the kernels ``(n, h, w)``."""
        return self._psfs[torch.randint(len(self._psfs), (n,), generator=rng)]


def centred(kernel: Tensor) -> Tensor:
    """A kernel ``(h, w)`` as a square one of odd size whose centroid is its middle and whose sum is 1."""
    weight = kernel.double() / kernel.double().sum()
    height, width = weight.shape
    row = float((weight.sum(1) * torch.arange(height, dtype=torch.float64)).sum())
    column = float((weight.sum(0) * torch.arange(width, dtype=torch.float64)).sum())
    radius = int(max(row, height - 1 - row, column, width - 1 - column)) + 2
    result = torch.zeros(2 * radius + 1, 2 * radius + 1, dtype=torch.float64)
    top, left = radius - row, radius - column
    for down, share_down in ((int(top), 1 - top % 1), (int(top) + 1, top % 1)):
        for right, share_right in ((int(left), 1 - left % 1), (int(left) + 1, left % 1)):
            result[down : down + height, right : right + width] += share_down * share_right * weight
    return trim(result[None])[0].float()


def _framed(psf: Tensor, radius: int) -> Tensor:
    missing = radius - psf.shape[-1] // 2
    return torch.nn.functional.pad(psf, (missing,) * 4)


def _kernels(file: Path) -> dict[str, Tensor]:
    """Every kernel in `file`, by name."""
    if file.suffix.lower() != ".npz":
        return {file.stem: photos.read_psf(file)[0]}
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except (OSError, ValueError) as fault:
        raise UserError(f"{file}: no file of kernels: {fault}") from fault
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype.kind not in "buif" or not np.isfinite(array).all() or array.min() < 0 or array.sum() <= 0:
            raise UserError(f"{file}: {name}: a kernel is a table (h, w) of numbers that are not negative and not all zero")
    if not arrays:
        raise UserError(f"{file}: holds no kernel")
    return {name: torch.from_numpy(array.astype(np.float64)) for name, array in arrays.items()}


def example(folder: Path) -> dict[str, Any]:
    """Options with a file of two kernels, for the conformance checks."""
    file = folder / "kernels.npz"
    np.savez(file, bar=np.ones((1, 3)), corner=np.array([[4.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]))
    return {"file": str(file)}
