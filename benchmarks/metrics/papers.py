"""The same restored pictures under every ruler: how much of a difference between two papers the ruler alone can be.

    python benchmarks/metrics/papers.py --into docs/metrics.md

The pictures are those of core/photos with camera shake, restored by core/tuned-wiener; nothing has to be there but the
packages of the extra dev. Ten seconds on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kornia.metrics
import numpy as np
from marked import replace, table
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

import restorekit as rk
from restorekit import discovery
from restorekit.bench.inputs import Inputs
from restorekit.bench.suite import load

EASY, HARD = "shake-short", "shake-long"

Ruler = Callable[[Tensor, Tensor], float]


def levels(image: Tensor, *, truncated: bool = False) -> np.ndarray[Any, Any]:
    scaled = image[0].clamp(0, 1).mul(255)
    return (scaled if truncated else scaled.round()).byte().permute(1, 2, 0).numpy()


def ours(name: str) -> Ruler:
    metric = rk.registry().create("metric", name)
    return lambda restored, target: metric(restored, target).item()


def kornia_ssim(restored: Tensor, target: Tensor) -> float:
    rounded = (image.mul(255).round() / 255 for image in (restored, target))
    return float(kornia.metrics.ssim(*rounded, 11, max_val=1.0, padding="same").mean())


def skimage_ssim(**options: Any) -> Ruler:
    return lambda restored, target: float(structural_similarity(levels(restored), levels(target), channel_axis=2, **options))


RULERS: dict[str, Ruler] = {
    "`core/psnr`: 8 bits, RGB": ours("core/psnr"),
    "`core/psnr-float`: not rounded": ours("core/psnr-float"),
    "`core/psnr-y`: luma": ours("core/psnr-y"),
    "truncated to 8 bits instead of rounded": lambda r, t: float(
        peak_signal_noise_ratio(levels(t), levels(r, truncated=True), data_range=255)
    ),
    "`core/ssim`: Gaussian 11×11, valid area, mean over RGB": ours("core/ssim"),
    "`core/ssim-y`: luma": ours("core/ssim-y"),
    "`core/ssim-matlab3d`: MATLAB's, colour as a third dimension": ours("core/ssim-matlab3d"),
    "`core/ms-ssim`: five scales": ours("core/ms-ssim"),
    "kornia's default: borders reflected, not cut": kornia_ssim,
    "scikit-image's default: 7×7 uniform window, sample covariance": skimage_ssim(data_range=255),
    "scikit-image, data_range 1 for levels to 255 (wrong)": skimage_ssim(data_range=1, gaussian_weights=True, sigma=1.5),
}


def pairs(degradation: str, folder: Path) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Damaged, restored and target."""
    inputs = Inputs(load("core/photos", registry=discovery.registry()), folder)
    method = rk.registry().create("restorer", "core/tuned-wiener")
    for cell in inputs.cells:
        if cell.degradation == degradation:
            pair = inputs.pair(cell)
            target = next(pair.targets())
            if target.shape[1] == 3:  # on grey pictures most of these rulers agree
                yield pair.degraded.image, method.restore(pair.degraded), target


def pooled(damaged: list[tuple[Tensor, Tensor]]) -> float:
    errors = [np.mean((levels(r).astype(float) - levels(t)) ** 2) for r, t in damaged]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", metavar="FILE", type=Path, help="a Markdown file with the marks of this table; printed if not given")
    arguments = parser.parse_args()
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        for degradation in (EASY, HARD):
            found = list(pairs(degradation, Path(folder)))
            for restored in ([(d, t) for d, _, t in found], [(r, t) for _, r, t in found]):
                column = {name: float(np.mean([ruler(r, t) for r, t in restored])) for name, ruler in RULERS.items()}
                column["mean squared error pooled over images (torchmetrics' default)"] = pooled(restored)
                columns.append(column)
    decibels = [name for name in columns[0] if columns[0][name] > 2]
    names = [*decibels, *(name for name in columns[0] if name not in decibels)]
    rows = [[name, *(f"{column[name]:.2f}" if name in decibels else f"{column[name]:.4f}" for column in columns)] for name in names]
    head = ["ruler", *(f"{degradation}, {what}" for degradation in (EASY, HARD) for what in ("damaged", "restored"))]
    text = table(head, rows)
    if arguments.into:
        replace(arguments.into, "papers", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
