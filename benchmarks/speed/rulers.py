"""Seconds of scoring 68 pairs of 481×321 under PSNR and every SSIM ruler, beside other implementations of the same ruler.

    python benchmarks/speed/rulers.py ../shared/data/cbsd68 [--repeats 2] [--threads 1] [--into docs/metrics.md]

The folder needs 68 pictures or fewer, which are used in turn; what is larger is cut, upright ones are turned. The
implementations take turns at each pair and the quickest turn counts, in processor time on a CPU, because other work on
the machine only ever adds to it. restorekit gets floats as a method returns
them, and clips and rounds them itself; the others get 8-bit levels, ready made. scikit-image and OpenCV are given
what they need to compute the very same ruler; so is torchmetrics, but for MS-SSIM, which halves odd sizes otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchmetrics.functional.image as tm
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "metrics"))

from marked import replace, table

import restorekit as rk

PAIRS, HEIGHT, WIDTH = 68, 321, 481
FEW, SLOW = 1, 2.0
"""What takes longer than 2 seconds a pair is measured on one of them."""

OPTIONS: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}

Picture = np.ndarray[Any, Any]
Score = Callable[[int], float]
"""The score of the pair of this number."""


def read(folder: Path) -> list[tuple[Picture, Picture]]:
    """Restored and target, ``(H, W, 3)`` levels."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg"))
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(PAIRS):
        pixels = np.asarray(Image.open(files[i % len(files)]).convert("RGB")).astype(np.float64)
        pixels = pixels.transpose(1, 0, 2) if pixels.shape[0] > pixels.shape[1] else pixels
        target = np.ascontiguousarray(pixels[:HEIGHT, :WIDTH])
        if target.shape != (HEIGHT, WIDTH, 3):
            raise SystemExit(f"{files[i % len(files)]}: smaller than {WIDTH}×{HEIGHT}")
        blurred = gaussian_filter(target, 1.2, axes=(0, 1)) + rng.normal(0, 3, target.shape)
        pairs.append((blurred.clip(0, 255).round(), target))
    return pairs


def ssim_opencv(a: Picture, b: Picture) -> float:
    """The definition with separable float32 filters."""
    window = cv2.getGaussianKernel(11, 1.5).astype(np.float32)

    def filtered(x: Picture) -> Picture:
        return cv2.sepFilter2D(x, cv2.CV_32F, window, window)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = filtered(a), filtered(b)
    aa, bb, ab = filtered(a * a) - ma * ma, filtered(b * b) - mb * mb, filtered(a * b) - ma * mb
    return float(((2 * ma * mb + c1) * (2 * ab + c2) / ((ma * ma + mb * mb + c1) * (aa + bb + c2))).mean(dtype=np.float64))


def contenders(pairs: list[tuple[Picture, Picture]], device: str) -> dict[str, dict[str, Score]]:
    """By ruler and implementation. What an implementation takes is made before the clock runs."""
    floats = [tuple(torch.from_numpy(x / 255).permute(2, 0, 1)[None].float().to(device) for x in pair) for pair in pairs]
    levels = [tuple(torch.from_numpy(x).permute(2, 0, 1)[None].float().to(device) for x in pair) for pair in pairs]
    single = [tuple(x.astype(np.float32) for x in pair) for pair in pairs]
    eight = [tuple(x.astype(np.uint8) for x in pair) for pair in pairs]

    def ours(name: str) -> Score:
        metric = rk.registry().create("metric", name)
        return lambda i: metric(*floats[i]).item()

    def luma(picture: Picture) -> Picture:
        return np.asarray(rgb2ycbcr(picture))[..., 0]

    def luma_tensor(rgb: Tensor) -> Tensor:
        return 16 + (rgb * torch.tensor([65.481, 128.553, 24.966], device=rgb.device).view(1, 3, 1, 1)).sum(1, keepdim=True) / 255

    def volume(picture: Picture) -> Picture:
        return np.pad(picture, 5, mode="edge")  # scikit-image cuts these 5 off again, in all three directions

    def volume_tensor(rgb: Tensor) -> Tensor:
        return torch.nn.functional.pad(rgb[None], (5,) * 6, mode="replicate")

    def psnr(a: Any, b: Any) -> float:
        return float(tm.peak_signal_noise_ratio(a, b, data_range=255.0))

    def ssim(a: Any, b: Any) -> float:
        whole = tm.structural_similarity_index_measure(a, b, data_range=255.0, return_full_image=True)[1]
        return float(whole[(..., *[slice(5, -5)] * (whole.ndim - 2))].mean())

    return {
        "core/psnr": {
            "restorekit": ours("core/psnr"),
            "scikit-image": lambda i: peak_signal_noise_ratio(eight[i][1], eight[i][0], data_range=255),
            "torchmetrics": lambda i: psnr(*levels[i]),
        },
        "core/psnr-float": {
            "restorekit": ours("core/psnr-float"),
            "scikit-image": lambda i: peak_signal_noise_ratio(single[i][1], single[i][0], data_range=255),
            "torchmetrics": lambda i: psnr(*levels[i]),
        },
        "core/psnr-y": {
            "restorekit": ours("core/psnr-y"),
            "scikit-image": lambda i: peak_signal_noise_ratio(luma(eight[i][1]), luma(eight[i][0]), data_range=255),
            "torchmetrics": lambda i: psnr(*map(luma_tensor, levels[i])),
        },
        "core/ssim": {
            "restorekit": ours("core/ssim"),
            "scikit-image": lambda i: structural_similarity(*eight[i], channel_axis=2, **OPTIONS),
            "torchmetrics": lambda i: ssim(*levels[i]),
            "OpenCV": lambda i: ssim_opencv(*single[i]),
        },
        "core/ssim-y": {
            "restorekit": ours("core/ssim-y"),
            "scikit-image": lambda i: structural_similarity(*map(luma, eight[i]), **OPTIONS),
            "torchmetrics": lambda i: ssim(*map(luma_tensor, levels[i])),
        },
        "core/ssim-matlab3d": {
            "restorekit": ours("core/ssim-matlab3d"),
            "scikit-image": lambda i: structural_similarity(*map(volume, eight[i]), **OPTIONS),
            "torchmetrics": lambda i: ssim(*map(volume_tensor, levels[i])),
        },
        "core/ms-ssim": {
            "restorekit": ours("core/ms-ssim"),
            "torchmetrics": lambda i: float(tm.multiscale_structural_similarity_index_measure(*levels[i], data_range=255.0)),
        },
    }


def _timed(score: Score, number: int, clock: Callable[[], float]) -> tuple[float, float]:
    start = clock()
    found = score(number)
    return clock() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photographs of at least 481×321")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="where restorekit and torchmetrics compute")
    parser.add_argument("--into", metavar="FILE", type=Path, help="a Markdown file with the marks of this table; printed if not given")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    clock = time.process_time if arguments.device == "cpu" else time.perf_counter
    rows = []
    for ruler, by in contenders(read(arguments.folder), arguments.device).items():
        pairs = {name: FEW if _timed(score, 0, clock)[0] > SLOW else PAIRS for name, score in by.items()}
        seconds = {name: np.full(pairs[name], np.inf) for name in by}
        found = {name: np.empty(pairs[name]) for name in by}
        for _ in range(arguments.repeats):
            for i in range(PAIRS):
                for name, score in by.items():
                    if i < pairs[name]:
                        took, found[name][i] = _timed(score, i, clock)
                        seconds[name][i] = min(seconds[name][i], took)
        for name in by:
            count = pairs[name]
            whole = seconds[name].sum() * PAIRS / count
            by_whom = name if count == PAIRS else f"{name} (from one pair)"
            own = name == "restorekit"
            ratio = f"{seconds[name].sum() / seconds['restorekit'][:count].sum():.1f}"
            apart = f"{np.abs(found[name] - found['restorekit'][:count]).max():.1e}"
            rows.append([f"`{ruler}`" if own else "", by_whom, f"{whole:.2f}", *(["", ""] if own else [ratio, apart])])
    text = table(["ruler", "by", "seconds for 68", "times as long", "largest difference"], rows)
    if arguments.into:
        replace(arguments.into, "speed", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
