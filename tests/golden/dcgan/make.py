"""Computes `numbers.npz`: small DCGAN networks evaluated by SciPy in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import convolve2d, correlate2d

LATENT, WIDTH, CHANNELS = 4, 2, 3  # of networks for 28×28 pictures: maps of 7×7, 14×14 and 28×28

Weights = dict[str, np.ndarray]


def transposed(maps: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A transposed convolution: zeros between the pixels, a full convolution, `padding` cut from each border."""
    rows, columns = maps.shape[-2:]
    spread = np.zeros((maps.shape[0], (rows - 1) * stride + 1, (columns - 1) * stride + 1))
    spread[:, ::stride, ::stride] = maps
    made = np.stack([sum(convolve2d(m, k) for m, k in zip(spread, weight[:, o], strict=True)) for o in range(weight.shape[1])])
    return made[:, padding : made.shape[1] - padding, padding : made.shape[2] - padding]


def convolution(maps: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A strided convolution as networks mean it: a correlation, borders of zeros."""
    maps = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    made = [sum(correlate2d(m, k, mode="valid") for m, k in zip(maps, kernels, strict=True)) for kernels in weight]
    return np.stack(made)[:, ::stride, ::stride]


def normalise(maps: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """Batch normalisation by the running statistics."""
    mean, variance, gain, bias = (weights[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias"))
    return (maps - mean) / np.sqrt(variance + 1e-5) * gain + bias


def generate(latent: np.ndarray, weights: Weights) -> np.ndarray:
    """One picture of 28×28 in [0, 1]."""
    maps = transposed(latent[:, None, None], weights["generator.layers.0.weight"], 1, 0)
    maps = np.maximum(normalise(maps, weights, "generator.layers.1"), 0)
    maps = transposed(maps, weights["generator.layers.3.weight"], 2, 1)
    maps = np.maximum(normalise(maps, weights, "generator.layers.4"), 0)
    maps = transposed(maps, weights["generator.layers.6.weight"], 2, 1) + weights["generator.layers.6.bias"][:, None, None]
    return (np.tanh(maps) + 1) / 2


def judge(picture: np.ndarray, weights: Weights) -> np.ndarray:
    """The logits of one picture in [0, 1]."""
    maps = convolution(2 * picture - 1, weights["critic.layers.0.weight"], 2, 1) + weights["critic.layers.0.bias"][:, None, None]
    maps = np.where(maps > 0, maps, 0.2 * maps)
    maps = normalise(convolution(maps, weights["critic.layers.2.weight"], 2, 1), weights, "critic.layers.3")
    maps = np.where(maps > 0, maps, 0.2 * maps)
    return convolution(maps, weights["critic.layers.5.weight"], 1, 0) + weights["critic.layers.5.bias"][:, None, None]


def main() -> None:
    """Draw weights and inputs, compute the results and write the file."""
    rng = np.random.default_rng(1511_06434)

    def norm(name: str, n: int) -> Weights:
        return {
            f"{name}.weight": rng.normal(1, 0.2, n),
            f"{name}.bias": rng.normal(0, 0.2, n),
            f"{name}.running_mean": rng.normal(0, 0.5, n),
            f"{name}.running_var": rng.uniform(0.5, 2, n),
        }

    weights: Weights = {
        "generator.layers.0.weight": rng.normal(0, 0.5, (LATENT, 2 * WIDTH, 7, 7)),
        **norm("generator.layers.1", 2 * WIDTH),
        "generator.layers.3.weight": rng.normal(0, 0.3, (2 * WIDTH, WIDTH, 4, 4)),
        **norm("generator.layers.4", WIDTH),
        "generator.layers.6.weight": rng.normal(0, 0.3, (WIDTH, CHANNELS, 4, 4)),
        "generator.layers.6.bias": rng.normal(0, 0.3, CHANNELS),
        "critic.layers.0.weight": rng.normal(0, 0.3, (WIDTH, CHANNELS, 4, 4)),
        "critic.layers.0.bias": rng.normal(0, 0.3, WIDTH),
        "critic.layers.2.weight": rng.normal(0, 0.3, (2 * WIDTH, WIDTH, 4, 4)),
        **norm("critic.layers.3", 2 * WIDTH),
        "critic.layers.5.weight": rng.normal(0, 0.3, (1, 2 * WIDTH, 7, 7)),
        "critic.layers.5.bias": rng.normal(0, 0.3, 1),
    }
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    exact = {name: value.astype(np.float64) for name, value in weights.items()}
    latents = rng.normal(size=(2, LATENT)).astype(np.float32)
    seen = rng.uniform(size=(2, CHANNELS, 28, 28)).astype(np.float32)
    np.savez_compressed(
        Path(__file__).parent / "numbers.npz",
        latents=latents,
        pictures=np.stack([generate(latent, exact) for latent in latents.astype(np.float64)]).astype(np.float32),
        seen=seen,
        logits=np.stack([judge(picture, exact) for picture in seen.astype(np.float64)]).astype(np.float32),
        **weights,
    )


if __name__ == "__main__":
    main()
