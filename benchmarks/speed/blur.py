"""Images a second that random motion blur takes: one thread, batches of sixteen 3×256×256.

    OMP_NUM_THREADS=1 python benchmarks/speed/blur.py [--repeats 9]

Side by side, in turn within one process:

- NumPy, image by image, after Boracchi & Foi (IEEE TIP 2012) and as DeblurGAN's authors published it: the trajectory of a
  particle with inertia and impulsive shakes, 2000 points one after the other; its PSF at four lengths of exposure,
  accumulated point by point, of which one is used; one FFT convolution per channel with the PSF padded to the image's size;
- the same with the one PSF that is used and a convolution no larger than need be, which is leaner than what was published:
  once with NumPy's functions throughout and once, to be fair to loops, with Python's own numbers inside them, which few
  write and which is several times faster;
- kornia's `RandomMotionBlur`, which draws straight lines that fill the kernel;
- `core/camera-shake` with paths half as long as the kernel, the longest that fit it whatever their shape.

Times are processor seconds, so that other work on the machine counts little; the medians are compared.
"""

from __future__ import annotations

import argparse
import cmath
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch
from kornia.augmentation import RandomMotionBlur

from restorekit.builtin import psf as psfs
from restorekit.builtin.blurs import CameraShake
from restorekit.builtin.convolution import convolve

BATCH, SIDE = 16, 256
SIZES = (31, 65)
POINTS = 2000

PUBLISHED, OURS = "NumPy, as published", "core/camera-shake"

EXPOSURES = (0.001, 0.1, 0.5, 1.0)
"""Shares of the path for which the published way draws PSFs."""


def numpy_trajectory(rng: np.random.Generator, length: float, points: int = POINTS) -> np.ndarray:
    """A particle at constant speed that is pushed at random, pulled back to the start and now and then jolted."""
    step = length / (points - 1)
    shake, push, pull = 4 * rng.uniform() / points, 10 * rng.uniform() / points, 0.7 * rng.uniform() / length
    path = np.zeros(points, complex)
    velocity = step * np.exp(2j * np.pi * rng.uniform())
    for t in range(points - 1):
        jolt = 2 * velocity * np.exp(1j * (np.pi + rng.uniform() - 0.5)) if rng.uniform() < shake else 0
        velocity = velocity + jolt + step * (push * (rng.normal() + 1j * rng.normal()) - pull * path[t])
        velocity = step * velocity / np.abs(velocity)
        path[t + 1] = path[t] + velocity
    return path - path.mean()


def numpy_psf(path: np.ndarray, size: int) -> np.ndarray:
    """Each point of a path spread over four pixels."""
    psf = np.zeros((size, size), np.float32)
    for point in path:
        y, x = point.imag + size // 2, point.real + size // 2
        for row in (np.floor(y), np.floor(y) + 1):
            for column in (np.floor(x), np.floor(x) + 1):
                weight = np.maximum(0, 1 - np.abs(y - row)) * np.maximum(0, 1 - np.abs(x - column))
                if 0 <= row < size and 0 <= column < size:
                    psf[int(row), int(column)] += weight / len(path)
    return psf


def published_psfs(path: np.ndarray, size: int) -> list[np.ndarray]:
    """The PSFs of several exposures, each that of the one before and what the particle has gone since."""
    psf, found, start = np.zeros((size, size)), [], 0.0
    for exposure in EXPOSURES:
        stop = exposure * len(path)
        for t, point in enumerate(path):
            share = max(0.0, min(t + 1, stop) - max(t, start))
            y, x = point.imag + size // 2, point.real + size // 2
            top, left = (int(np.minimum(size - 2, np.maximum(0, math.floor(place)))) for place in (y, x))
            for row in (top, top + 1):
                for column in (left, left + 1):
                    psf[row, column] += share * np.maximum(0, 1 - np.abs(y - row)) * np.maximum(0, 1 - np.abs(x - column))
        found.append(psf / len(path))
        start = stop
    return found


def published(images: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    return np.stack([published_blur(image, published_psfs(numpy_trajectory(rng, size // 2), size)[-1]) for image in images])


def published_blur(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Borders darken; the published code then stretches the result to black and white, too, which is left out here."""
    height, width = image.shape[:2]
    rows, columns = height - len(psf), width - len(psf)
    wide = np.pad(psf.astype(np.float32), ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)))
    return np.stack([scipy.signal.fftconvolve(image[..., c], wide, mode="same") for c in range(image.shape[2])], axis=2)


def plain_trajectory(rng: np.random.Generator, length: float, points: int = POINTS) -> list[complex]:
    """`numpy_trajectory` with Python's own numbers, which NumPy's cost several times over."""
    step = length / (points - 1)
    shake, push, pull = 4 * rng.random() / points, 10 * rng.random() / points, 0.7 * rng.random() / length
    chances, angles, pushes = rng.random(points).tolist(), rng.random(points).tolist(), rng.normal(size=(points, 2)).tolist()
    position, velocity = 0j, cmath.rect(step, 2 * math.pi * rng.random())
    path = [position]
    for chance, angle, (right, down) in zip(chances[1:], angles[1:], pushes[1:], strict=True):
        jolt = 2 * velocity * cmath.exp(1j * (math.pi + angle - 0.5)) if chance < shake else 0
        velocity += jolt + step * (push * complex(right, down) - pull * position)
        velocity *= step / abs(velocity)
        position += velocity
        path.append(position)
    middle = sum(path) / points
    return [position - middle for position in path]


def plain_psf(path: list[complex], size: int) -> np.ndarray:
    """`numpy_psf` with Python's own numbers."""
    psf = [[0.0] * size for _ in range(size)]
    share = 1 / len(path)
    for point in path:
        y, x = point.imag + size // 2, point.real + size // 2
        top, left = math.floor(y), math.floor(x)
        down, right = y - top, x - left
        for row, weight in ((top, (1 - down) * share), (top + 1, down * share)):
            if 0 <= row < size and 0 <= left < size - 1:
                psf[row][left] += weight * (1 - right)
                psf[row][left + 1] += weight * right
    return np.array(psf, np.float32)


def one_by_one(images: np.ndarray, psf: Callable[[], np.ndarray]) -> np.ndarray:
    blurred = []
    for image in images:
        kernel = psf()
        sides = [(size // 2, size // 2) for size in kernel.shape]
        wide = np.pad(image, (*sides, (0, 0)), mode="reflect")
        blurred.append(scipy.signal.fftconvolve(wide, kernel[..., None], mode="valid", axes=(0, 1)))
    return np.stack(blurred).clip(0, 1)


def interleaved(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median processor seconds of each task, taking turns after a call to warm up."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn:
                found[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def tasks_for(size: int, repeats: int) -> dict[str, Callable[[], object]]:
    """What is timed for one size of the kernel, by name; the parts of a task have its name, a colon and their own."""
    rng, numpy_rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    images = torch.rand(BATCH, 3, SIDE, SIDE, generator=rng)
    arrays = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    radius = size // 2
    shake = CameraShake(length=float(radius))
    lines = RandomMotionBlur(kernel_size=size, angle=180.0, direction=0.0, border_type="reflect", p=1.0)
    length, curvature, jerk = (torch.full((BATCH,), value) for value in (float(radius), 3.0, 1.5))
    drawn = [shake.sample(BATCH, (3, SIDE, SIDE), rng) for _ in range(repeats + 1)]
    paths = psfs.trajectories(length, curvature, jerk, shake.points, rng)
    path = numpy_trajectory(numpy_rng, radius)
    psf = published_psfs(path, size)[-1]
    return {
        PUBLISHED: lambda: published(arrays, numpy_rng, size),
        "NumPy, one exposure": lambda: one_by_one(arrays, lambda: numpy_psf(numpy_trajectory(numpy_rng, radius), size)),
        "plain Python, one exposure": lambda: one_by_one(arrays, lambda: plain_psf(plain_trajectory(numpy_rng, radius), size)),
        "kornia RandomMotionBlur": lambda: lines(images),
        OURS: lambda: shake.apply(images, shake.sample(BATCH, (3, SIDE, SIDE), rng)),
        f"{PUBLISHED}: trajectory": lambda: [numpy_trajectory(numpy_rng, radius) for _ in arrays],
        f"{PUBLISHED}: PSF": lambda: [published_psfs(path, size) for _ in arrays],
        f"{PUBLISHED}: convolution": lambda: [published_blur(image, psf) for image in arrays],
        f"{OURS}: trajectory": lambda: psfs.trajectories(length, curvature, jerk, shake.points, rng),
        f"{OURS}: splat": lambda: psfs.splat(paths, shake.radius),
        f"{OURS}: convolution": lambda: convolve(images, drawn.pop()["psf"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    for size in SIZES:
        seconds = interleaved(tasks_for(size, repeats), repeats)
        print(f"\nKernel {size}×{size}\n\n| | images/s | {OURS} is faster by |\n|---|---|---|")
        for name in seconds:
            if ": " not in name:
                print(f"| {name} | {BATCH / seconds[name]:.1f} | {seconds[name] / seconds[OURS]:.1f} |")
        print()
        for whole in (PUBLISHED, OURS):
            parts = [name for name in seconds if name.startswith(f"{whole}: ")]
            shares = [f"{part.removeprefix(f'{whole}: ')} {seconds[part] / seconds[whole]:.0%}" for part in parts]
            print(f"Of the time of {whole}: {', '.join(shares)}.")


if __name__ == "__main__":
    main()
