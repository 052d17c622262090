"""Core losses against torch, kornia, scikit-image and float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from restorekit import registry
from restorekit.builtin.features import SqueezeNet
from restorekit.builtin.losses import L1, L2, Charbonnier, Frequency, PeakSignalToNoise, Perceptual, StructuralSimilarity, TotalVariation
from restorekit.errors import ConfigError, ImageError, UserError
from restorekit.images import Degraded
from restorekit.interfaces import Loss

NAMES = [part.name for part in registry().of_kind("loss") if part.namespace == "core"]
WITH_TARGET = [name for name in NAMES if registry().find("loss", name).load().needs_target]


def make(name: str) -> Loss:
    part = registry().find("loss", name).part
    loss = registry().create("loss", name, **part.example)  # type: ignore[arg-type]
    assert isinstance(loss, Loss)
    return loss


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    restored, target = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return restored, target


def call(loss: Loss, restored: Tensor, target: Tensor) -> Tensor:
    result = loss(restored, target, Degraded(target))
    assert result.shape == ()
    return result


def by_skimage(restored: np.ndarray, target: np.ndarray) -> float:
    scores = [
        structural_similarity(r, t, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=0)
        for r, t in zip(restored, target, strict=True)
    ]
    return 1 - float(np.mean(scores))


def isotropic_variation(restored: np.ndarray, target: np.ndarray) -> float:
    down = np.diff(restored, axis=2, append=restored[:, :, -1:])
    right = np.diff(restored, axis=3, append=restored[:, :, :, -1:])
    return float(np.hypot(down, right).mean())


def spectrum(restored: np.ndarray, target: np.ndarray) -> float:
    both = np.fft.fft2(restored - target, norm="ortho")
    return float(np.mean([np.abs(both.real), np.abs(both.imag)]))


REFERENCES: list[tuple[Loss, Callable[[np.ndarray, np.ndarray], float]]] = [
    (L1(), lambda r, t: F.l1_loss(torch.from_numpy(r), torch.from_numpy(t)).item()),
    (L2(), lambda r, t: F.mse_loss(torch.from_numpy(r), torch.from_numpy(t)).item()),
    (Charbonnier(), lambda r, t: float(np.sqrt((r - t) ** 2 + 1e-6).mean())),
    (Charbonnier(epsilon=0.2), lambda r, t: float(np.sqrt((r - t) ** 2 + 0.04).mean())),
    (
        PeakSignalToNoise(floor=1e-15),
        lambda r, t: -np.mean([peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(r, t, strict=True)]),
    ),
    (PeakSignalToNoise(), lambda r, t: float(10 * np.log10(((r - t) ** 2).mean((1, 2, 3)) + 1e-4).mean())),
    (StructuralSimilarity(), by_skimage),
    (TotalVariation(), lambda r, t: (kornia.losses.total_variation(torch.from_numpy(r), reduction="sum").sum() / r.size).item()),
    (TotalVariation(isotropic=True), isotropic_variation),
    (Frequency(), spectrum),
]


@pytest.mark.parametrize("shape", [(2, 3, 16, 20), (1, 1, 17, 13), (3, 3, 12, 11)])
@pytest.mark.parametrize(("loss", "reference"), REFERENCES, ids=lambda x: type(x).__name__ if isinstance(x, Loss) else "")
def test_value(loss: Loss, reference: Callable[[np.ndarray, np.ndarray], float], shape: tuple[int, ...]) -> None:
    restored, target = images(*shape)
    wanted = reference(restored.numpy(), target.numpy())
    assert call(loss, restored, target).item() == pytest.approx(wanted, rel=1e-12)
    assert call(loss, restored.float(), target.float()).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("loss", [loss for loss, _ in REFERENCES], ids=lambda loss: type(loss).__name__)
def test_gradient(loss: Loss) -> None:
    restored, target = images(2, 1, 12, 13)
    assert torch.autograd.gradcheck(lambda x: call(loss, x, target), restored.requires_grad_(), fast_mode=True)


def test_gradient_of_perceptual() -> None:
    loss = Perceptual(features=SqueezeNet(weights="random"), layers=("features.0", "features.3")).double()
    restored, target = images(1, 3, 16, 16)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, Degraded(target)).double(), restored.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_least_at_equality(name: str) -> None:
    loss = make(name)
    _, target = images(2, 3, 16, 16, dtype=torch.float32)
    best = call(loss, target.clone().requires_grad_(), target)
    for seed in range(5):
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
        assert call(loss, target + 0.01 * noise, target) > best


@pytest.mark.parametrize("name", NAMES)
def test_finite_gradient_where_the_image_is_flat_and_equal(name: str) -> None:
    restored = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    call(make(name), restored, restored.detach().clone()).backward()
    assert restored.grad is not None
    assert restored.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_float32_under_autocast(name: str) -> None:
    loss = make(name)
    restored, target = images(2, 3, 32, 32, dtype=torch.float32)
    restored = (target + 0.01 * restored).bfloat16()
    wanted = call(loss, restored.float(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = call(loss, restored, target)
    assert found.dtype == torch.float32
    # The perceptual loss runs its network in bfloat16, all others compute in float32 throughout.
    assert found.item() == pytest.approx(wanted.item(), rel=0.05 if "features" in dict(loss.named_children()) else 1e-6)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_shapes_are_not_broadcast(name: str) -> None:
    loss = make(name)
    with pytest.raises(ImageError, match="one shape"):
        call(loss, torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16))


def test_total_variation_reads_no_target() -> None:
    restored, _ = images(1, 3, 8, 8)
    assert call(TotalVariation(), restored, torch.full_like(restored, torch.nan)).isfinite()
    assert not TotalVariation.needs_target
    assert call(TotalVariation(), torch.rand(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)) == 0


def test_structural_similarity_of_a_small_image() -> None:
    with pytest.raises(ImageError, match="at least 11×11"):
        call(StructuralSimilarity(), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_frequency_does_not_scale_with_the_image() -> None:
    values = []
    for size in (32, 63, 128):
        noise = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(size))
        values.append(call(Frequency(), noise, torch.zeros_like(noise)).item())
    # White noise of variance 1 has real and imaginary parts of variance ½, whose mean absolute value is 1/√π.
    assert values == pytest.approx([np.pi**-0.5] * 3, rel=0.02)


def squeezenet_maps(image: Tensor, features: SqueezeNet, layers: tuple[int, ...]) -> list[Tensor]:
    """Maps of torchvision's own network with the same weights, through hooks."""
    from torchvision.models import squeezenet1_0

    network = squeezenet1_0(weights=None).features.eval()
    network.load_state_dict({k.removeprefix("stages."): v for k, v in features.state_dict().items()})
    maps: list[Tensor] = []
    for i in layers:
        network[i].register_forward_hook(lambda module, arguments, output: maps.append(output.clone()))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    network((image - mean) / std)
    return maps


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_perceptual_value(distance: str) -> None:
    loss = registry().create(
        "loss",
        "core/perceptual",
        features={"part": "core/squeezenet", "weights": "random", "seed": 3},
        layers=["features.0", "features.4"],
        distance=distance,
        layer_weights=[0.5, 2.0],
    )
    restored, target = images(2, 3, 32, 32, dtype=torch.float32)
    of = F.l1_loss if distance == "l1" else F.mse_loss
    made, wanted = (squeezenet_maps(x, loss.features, (0, 4)) for x in (restored, target))
    value = 0.5 * of(made[0], wanted[0]) + 2 * of(made[1], wanted[1])
    assert call(loss, restored, target).item() == pytest.approx(value.item(), rel=1e-5)


def test_perceptual_keeps_no_graph_of_the_target() -> None:
    loss = Perceptual(features=SqueezeNet(weights="random"), layers=("features.0",))
    restored, target = (x.requires_grad_() for x in images(1, 3, 16, 16, dtype=torch.float32))
    call(loss, restored, target).backward()
    assert target.grad is None
    assert restored.grad is not None
    assert restored.grad.abs().sum() > 0
    assert all(p.grad is None for p in loss.parameters())


def test_perceptual_refuses_nonsense() -> None:
    features = SqueezeNet(weights="random")
    with pytest.raises(UserError, match=r"no layer 'features.99'.*Layers: features.0, features.1"):
        Perceptual(features=features, layers=("features.99",))
    with pytest.raises(ValueError, match="given once"):
        Perceptual(features=features, layers=("features.0", "features.0"))
    with pytest.raises(ValueError, match="2 for 1 layers"):
        Perceptual(features=features, layers=("features.0",), layer_weights=(1.0, 2.0))
    with pytest.raises(ConfigError, match="layers"):
        registry().create("loss", "core/perceptual", features=features, layers=[])
