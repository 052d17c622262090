"""How far restorekit's scores are from other implementations: sizes, ranges and channels.

    python benchmarks/metrics/agreements.py --into docs/metrics.md

Needs nothing but the packages of the extra dev: the photographs are those inside scikit-image, networks have
random weights, the same on both sides. A minute on one core.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import scipy.linalg
import scipy.ndimage
import torch
import torchmetrics.functional.image as tm
from marked import replace, table
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

import restorekit as rk

Picture = np.ndarray[Any, Any]

SIZES = ((64, 48), (161, 203), (321, 481), (512, 512))
"""Heights and widths of the pictures."""

DAMAGES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "noise": lambda x, rng: x + rng.normal(0, 10, x.shape),
    "blur": lambda x, rng: scipy.ndimage.gaussian_filter(x, 2, axes=(0, 1)),
    "offset": lambda x, rng: x + 20,
    "dark": lambda x, rng: x * 0.05 + rng.normal(0, 1, x.shape),
    "bright": lambda x, rng: 255 - x * 0.05 + rng.normal(0, 1, x.shape),
    "faint": lambda x, rng: 120 + x * 0.02,
    "out of range": lambda x, rng: (x - 128) * 3 + 128,
    "nothing left": lambda x, rng: np.zeros_like(x),
}
"""What is done to levels; the result is clipped and rounded by the metric on one side and before the reference on the other."""


def cases() -> Iterator[tuple[Tensor, Tensor, Picture, Picture]]:
    """Restored and target, as tensors for restorekit and as 8-bit pictures for everybody else."""
    photo = data.astronaut().astype(np.float64)
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        for channels in (1, 3):
            target = photo[:height, :width, :channels]
            for damage in DAMAGES.values():
                damaged = damage(target, rng)
                levels = np.clip(damaged, 0, 255).round()
                yield tensor(damaged), tensor(target), levels, target


def tensor(levels: Picture) -> Tensor:
    return torch.from_numpy(levels / 255).permute(2, 0, 1)[None].float()


def y(picture: Picture) -> Picture:
    rgb = picture if picture.shape[2] == 3 else picture.repeat(3, 2)
    return np.asarray(rgb2ycbcr(rgb.astype(np.uint8)))[..., :1]


def ssim_skimage(a: Picture, b: Picture) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(structural_similarity(a, b, channel_axis=2, **options))


def nchw(picture: Picture) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def ssim_torchmetrics(a: Picture, b: Picture) -> float:
    whole = tm.structural_similarity_index_measure(nchw(a), nchw(b), data_range=255.0, return_full_image=True)[1]
    return float(whole[..., 5:-5, 5:-5].mean())


def ssim_volume(a: Picture, b: Picture) -> float:
    def blurred(x: Picture) -> Picture:
        return np.asarray(scipy.ndimage.gaussian_filter(x, 1.5, radius=5, mode="nearest"))

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = blurred(a), blurred(b)
    va, vb, vab = blurred(a * a) - ma * ma, blurred(b * b) - mb * mb, blurred(a * b) - ma * mb
    return float(np.mean((2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))))


def ms_ssim_by_recipe(a: Picture, b: Picture) -> float:
    """As the authors' code: per channel, borders repeated where a size is odd."""

    def of_channel(a: Picture, b: Picture) -> float:
        def blurred(x: Picture) -> Picture:
            return np.asarray(scipy.ndimage.gaussian_filter(x, 1.5, radius=5))[5:-5, 5:-5]

        score, c2 = 1.0, (0.03 * 255) ** 2
        for weight in (0.0448, 0.2856, 0.3001, 0.2363):
            va, vb, vab = (blurred(p * q) - blurred(p) * blurred(q) for p, q in ((a, a), (b, b), (a, b)))
            score *= max(0.0, float(np.mean((2 * vab + c2) / (va + vb + c2)))) ** weight
            a, b = (scipy.ndimage.uniform_filter(x, 2, origin=-1, mode="reflect")[::2, ::2] for x in (a, b))
        return score * float(max(0.0, ssim_skimage(a[..., None], b[..., None]))) ** 0.1333

    return float(np.mean([of_channel(a[..., i], b[..., i]) for i in range(a.shape[2])]))


REFERENCES: list[tuple[str, str, int, Callable[[Picture, Picture], float]]] = [
    ("core/psnr", "scikit-image", 1, lambda a, b: peak_signal_noise_ratio(b, a, data_range=255)),
    ("core/psnr", "torchmetrics", 1, lambda a, b: float(tm.peak_signal_noise_ratio(nchw(a), nchw(b), data_range=255.0))),
    ("core/psnr-y", "scikit-image, on its `rgb2ycbcr`", 1, lambda a, b: peak_signal_noise_ratio(y(b), y(a), data_range=255)),
    ("core/ssim", "scikit-image", 11, ssim_skimage),
    ("core/ssim", "torchmetrics, valid area of its map", 11, ssim_torchmetrics),
    ("core/ssim-y", "scikit-image, on its `rgb2ycbcr`", 11, lambda a, b: ssim_skimage(y(a), y(b))),
    ("core/ssim-matlab3d", "the formula with scipy's filters", 1, ssim_volume),
    ("core/ms-ssim", "the authors' recipe with scipy's filters", 161, ms_ssim_by_recipe),
]
"""Metric, outside implementation, smallest side that both take, and the implementation."""


def pairs_of_pictures() -> list[list[str]]:
    rows = []
    for name, what, smallest, reference in REFERENCES:
        metric = rk.registry().create("metric", name)
        differences = []
        for restored, target, a, b in cases():
            if min(a.shape[:2]) >= smallest:
                found, wanted = metric(restored, target).item(), reference(a, b)
                differences.append(0.0 if found == wanted else abs(found - wanted))
        rows.append([f"`{name}`", what, str(len(differences)), shown(max(differences))])
    floats = rk.registry().create("metric", "core/psnr-float")
    differences = [
        abs(floats(r, t).item() - peak_signal_noise_ratio(t.double().numpy(), r.double().numpy(), data_range=1))
        for r, t, _, _ in cases()
        if not torch.equal(r, t)
    ]
    rows.insert(2, ["`core/psnr-float`", "scikit-image", str(len(differences)), shown(max(differences))])
    sharpness = rk.registry().create("metric", "core/sharpness")
    differences = []
    for restored, _, a, _ in cases():
        wanted = scipy.ndimage.laplace(y(a)[..., 0])[1:-1, 1:-1].var()
        differences.append(abs(sharpness(restored).item() - wanted) / max(wanted, 1e-9))
    return [*rows, ["`core/sharpness`", "scipy's Laplacian", str(len(differences)), f"{shown(max(differences))} of the score"]]


def networks() -> list[list[str]]:
    import lpips
    from safetensors.torch import save_file
    from torchvision import models

    rows = []
    file = Path("/dev/shm" if Path("/dev/shm").is_dir() else ".") / "restorekit-agreements.safetensors"  # noqa: S108
    for network, builder in (("alex", "alexnet"), ("vgg", "vgg16"), ("squeeze", "squeezenet1_1")):
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            trunk = getattr(models, builder)(weights=None).features
            with mock.patch.object(models, builder, lambda pretrained, trunk=trunk: SimpleNamespace(features=trunk)):
                theirs = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)
        try:
            save_file({f"features.{name}": value for name, value in trunk.state_dict().items()}, file)
            ours = rk.registry().create("metric", "core/lpips", network=network, weights=str(file))
        finally:
            file.unlink(missing_ok=True)
        differences = []
        for _, target, a, _ in cases():
            if 64 <= min(a.shape[:2]) < 400:
                restored = tensor(a)
                with torch.no_grad():
                    wanted = theirs(restored.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1), normalize=True).item()
                differences.append(abs(ours(restored, target).item() - wanted))
        rows.append([f"`core/lpips`, {network}", "lpips, same backbone", str(len(differences)), shown(max(differences))])
    return rows


def sets() -> list[list[str]]:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    features = rk.registry().create("features", "core/squeezenet", weights="random")
    layer = "features.5"

    class Vectors(torch.nn.Module):
        num_features = 256

        def forward(self, image: Tensor) -> Tensor:
            image = image / 255 if image.dtype == torch.uint8 else image
            return features(image.float(), [layer])[layer].mean((2, 3)).double()

    rng = torch.Generator().manual_seed(0)
    photo = tensor(data.astronaut().astype(np.float64))
    places = torch.randint(0, 400, (320, 2), generator=rng)
    target = torch.cat([photo[..., i : i + 64, j : j + 64] for i, j in places.tolist()])
    restored = (target + 0.05 * torch.randn(target.shape, generator=rng)).clamp(0, 1).mul(255).round() / 255
    spec = {"features": features, "layer": layer, "resize": None}
    fid, kid = (rk.registry().create("set-metric", name, **spec) for name in ("core/fid", "core/kid"))
    for metric in (fid, kid):
        metric.update(restored, target)
    a, b = (Vectors()(image).numpy() for image in (restored, target))
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(0) - b.mean(0)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    by_scipy = float(shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root))
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        their_fid = FrechetInceptionDistance(feature=Vectors(), normalize=True, input_img_size=(3, 64, 64)).set_dtype(torch.float64)
        their_kid = KernelInceptionDistance(feature=Vectors(), subsets=1, subset_size=320, normalize=True)
        for theirs in (their_fid, their_kid):
            theirs.update(restored, real=False)
            theirs.update(target, real=True)
    found = (
        ("`core/fid`", "the formula with `scipy.linalg.sqrtm`", fid.compute(), by_scipy),
        ("`core/fid`", "torchmetrics", fid.compute(), float(their_fid.compute())),
        ("`core/kid`", "torchmetrics", kid.compute(), float(their_kid.compute()[0])),
    )
    return [[name, what, "1 set of 320", f"{shown(abs(ours - theirs) / abs(theirs))} of the score"] for name, what, ours, theirs in found]


def shown(difference: float) -> str:
    """Rounded up to a power of ten, because the last bits differ between processors."""
    if difference == 0:
        return "0"
    if difference < 1e-12:
        return "< 1e-12"
    return f"< 1e{int(np.floor(np.log10(difference))) + 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", metavar="FILE", type=Path, help="a Markdown file with the marks of this table; printed if not given")
    arguments = parser.parse_args()
    rows = [*pairs_of_pictures(), *networks(), *sets()]
    text = table(["metric", "outside implementation", "cases", "largest difference"], rows)
    if arguments.into:
        replace(arguments.into, "agreements", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
