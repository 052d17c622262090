"""Objectives against the papers' formulas in float64 NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from restorekit import registry
from restorekit.builtin.adversarial import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    NonSaturatingR1,
    RelativisticAverageLeastSquares,
    Wasserstein,
    WassersteinGradientPenalty,
)
from restorekit.interfaces import Adversarial, Critic
from restorekit.interfaces.adversarial import Images
from restorekit.seeding import seeded

NAMES = [part.name for part in registry().of_kind("adversarial") if part.namespace == "core"]


class Patches(Critic):
    """A smooth critic with a map of logits for each scale."""

    def __init__(self, scales: int = 2, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        with seeded("patches"):
            self.heads = nn.ModuleList(nn.Conv2d(3, 1, 3, stride=1 + i) for i in range(scales)).to(dtype)
        self.seen: list[Images] = []

    def forward(self, image: Images, given: Tensor | None = None) -> tuple[Tensor, ...]:
        self.seen.append(image)
        pyramid = image if isinstance(image, tuple) else (image,) * len(self.heads)
        return tuple(3 * torch.tanh(head(x)) for head, x in zip(self.heads, pyramid, strict=True))


class Linear(Critic):
    """One logit per image and scale, the scalar product with a weight."""

    def __init__(self, *weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weights)

    def forward(self, image: Images, given: Tensor | None = None) -> tuple[Tensor, ...]:
        pyramid = image if isinstance(image, tuple) else (image,)
        return tuple((w * x).sum((1, 2, 3)).view(-1, 1, 1, 1) for w, x in zip(self.weights, pyramid, strict=True))


def images(n: int = 3, size: int = 9, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    real, fake = torch.rand(2, n, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    return real, fake


def log_sigmoid(d: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-d))


Formula = Callable[[np.ndarray, np.ndarray], float]


FORMULAS: list[tuple[Adversarial, Formula, Formula]] = [
    (
        Minimax(),
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda r, f: np.log(1 - 1 / (1 + np.exp(-f))).mean(),
    ),
    (
        NonSaturating(),
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda r, f: -log_sigmoid(f).mean(),
    ),
    (
        NonSaturatingR1(),
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda r, f: -log_sigmoid(f).mean(),
    ),
    (
        Hinge(),
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda r, f: -f.mean(),
    ),
    (
        LeastSquares(),
        lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,
        lambda r, f: ((f - 1) ** 2).mean() / 2,
    ),
    (
        RelativisticAverageLeastSquares(),
        lambda r, f: ((r - f.mean() - 1) ** 2).mean() + ((f - r.mean() + 1) ** 2).mean(),
        lambda r, f: ((f - r.mean() - 1) ** 2).mean() + ((r - f.mean() + 1) ** 2).mean(),
    ),
    (Wasserstein(), lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    (WassersteinGradientPenalty(), lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
]


def test_every_objective_has_a_formula() -> None:
    classes = {registry().find("adversarial", name).load() for name in NAMES}
    assert classes == {type(objective) for objective, _, _ in FORMULAS}


@pytest.mark.parametrize(("objective", "of_critic", "of_generator"), FORMULAS, ids=lambda x: type(x).__name__)
def test_value(objective: Adversarial, of_critic: Formula, of_generator: Formula) -> None:
    critic, (real, fake) = Patches(), images()
    logits = [[m.detach().numpy() for m in critic(x)] for x in (real, fake)]
    assert len(logits[0]) == 2
    wanted_critic = np.mean([of_critic(r, f) for r, f in zip(*logits, strict=True)])
    wanted_generator = np.mean([of_generator(r, f) for r, f in zip(*logits, strict=True)])
    terms = objective.critic_terms(critic, real, fake)
    assert sum(v.item() for k, v in terms.items() if k != "penalty") == pytest.approx(wanted_critic, rel=1e-12)
    assert sum(objective.generator_terms(critic, real, fake).values()).item() == pytest.approx(wanted_generator, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.1, 0.3])
def test_a_smoothed_label_is_the_critics_and_for_real_images_only(smoothing: float) -> None:
    critic, (real, fake) = Patches(), images()
    logits = [[m.detach() for m in critic(x)] for x in (real, fake)]
    target = [torch.full_like(m, 1 - smoothing) for m in logits[0]]
    gaps = [r - f.mean() for r, f in zip(*logits, strict=True)]
    wanted = {
        Minimax: [F.binary_cross_entropy_with_logits(m, t) for m, t in zip(logits[0], target, strict=True)],
        NonSaturating: [F.binary_cross_entropy_with_logits(m, t) for m, t in zip(logits[0], target, strict=True)],
        LeastSquares: [F.mse_loss(m, t) / 2 for m, t in zip(logits[0], target, strict=True)],
        RelativisticAverageLeastSquares: [F.mse_loss(g, t) for g, t in zip(gaps, target, strict=True)],
    }
    for kind, values in wanted.items():
        smooth, plain = kind(smoothing=smoothing), kind()
        terms, usual = smooth.critic_terms(critic, real, fake), plain.critic_terms(critic, real, fake)
        assert terms["real"].item() == pytest.approx(torch.stack(values).mean().item(), rel=1e-12)
        assert torch.equal(terms["fake"], usual["fake"])
        first, second = (objective.generator_terms(critic, real, fake) for objective in (smooth, plain))
        assert all(torch.equal(first[name], second[name]) for name in second)


@pytest.mark.parametrize("objective", [o for o, _, _ in FORMULAS], ids=lambda o: type(o).__name__)
def test_gradients(objective: Adversarial) -> None:
    critic, (real, fake) = Patches(), images(2, 6)
    names, values = zip(*critic.named_parameters(), strict=True)

    class Swapped(Critic):
        def __init__(self, parameters: dict[str, Tensor]) -> None:
            super().__init__()
            self.swapped = parameters

        def forward(self, image: Images, given: Tensor | None = None) -> tuple[Tensor, ...]:
            result: tuple[Tensor, ...] = functional_call(critic, self.swapped, (image,))
            return result

    def of_parameters(*parameters: Tensor) -> Tensor:
        with seeded("mixture"):
            terms = objective.critic_terms(Swapped(dict(zip(names, parameters, strict=True))), real, fake)
        return torch.stack(list(terms.values())).sum()

    def of_fake(made: Tensor) -> Tensor:
        return torch.stack(list(objective.generator_terms(critic, real, made).values())).sum()

    parameters = tuple(v.detach().clone().requires_grad_() for v in values)
    assert torch.autograd.gradcheck(of_parameters, parameters)
    assert torch.autograd.gradcheck(of_fake, fake.clone().requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_each_side_leaves_the_other_alone(name: str) -> None:
    objective = registry().create("adversarial", name)
    critic, (real, start) = Patches(), images()
    generator = nn.Conv2d(3, 3, 1).double()

    fake = generator(start)
    sum(objective.critic_terms(critic, real, fake.detach()).values()).backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in critic.parameters())

    critic.zero_grad(set_to_none=True)
    critic.requires_grad_(False)
    sum(objective.generator_terms(critic, real, fake).values()).backward()
    assert all(p.grad is None for p in critic.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in generator.parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("core/ra")])
def test_generator_does_not_pay_for_real_images(name: str) -> None:
    critic, (real, fake) = Patches(), images()
    registry().create("adversarial", name).generator_terms(critic, real, fake)
    assert critic.seen == [fake]


@pytest.mark.parametrize("name", NAMES)
def test_pyramids_of_images(name: str) -> None:
    objective = registry().create("adversarial", name)
    (real, fake), (small_real, small_fake) = images(), images(size=5)
    terms = objective.critic_terms(Patches(), (small_real, real), (small_fake, fake))
    terms |= {f"generator {k}": v for k, v in objective.generator_terms(Patches(), (small_real, real), (small_fake, fake)).items()}
    assert all(v.shape == () and v.isfinite() for v in terms.values())


@pytest.mark.parametrize("name", NAMES)
def test_terms_are_float32_under_autocast(name: str) -> None:
    objective = registry().create("adversarial", name)
    critic, (real, fake) = Patches(dtype=torch.float32), images(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = [*objective.critic_terms(critic, real, fake).values(), *objective.generator_terms(critic, real, fake).values()]
    assert {v.dtype for v in terms} == {torch.float32}


@pytest.mark.parametrize("norm", [0.3, 1.0, 2.5])
def test_penalty_of_a_linear_critic(norm: float) -> None:
    real, fake = images()
    weight = torch.randn(3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    critic = Linear(norm * weight / weight.norm())
    terms = WassersteinGradientPenalty().critic_terms(critic, real, fake)
    assert terms["penalty"].item() == pytest.approx(10 * (norm - 1) ** 2, abs=1e-12)
    terms = WassersteinGradientPenalty(penalty=3).critic_terms(critic, real, fake)
    assert terms["penalty"].item() == pytest.approx(3 * (norm - 1) ** 2, abs=1e-12)


@pytest.mark.parametrize("norm", [0.3, 2.5])
def test_r1_of_a_linear_critic(norm: float) -> None:
    real, fake = images()
    weight = torch.randn(3, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    terms = NonSaturatingR1(penalty=3).critic_terms(Linear(norm * weight / weight.norm()), real, fake)
    assert terms["penalty"].item() == pytest.approx(3 / 2 * norm**2, abs=1e-12)


def test_r1_looks_at_real_images_only() -> None:
    class Square(Critic):
        def forward(self, image: Images, given: Tensor | None = None) -> tuple[Tensor, ...]:
            assert isinstance(image, Tensor)
            return (image.square().sum((1, 2, 3), keepdim=True),)

    real, fake = images()
    wanted = 10 / 2 * (4 * real.square().sum((1, 2, 3))).mean().item()
    assert NonSaturatingR1().critic_terms(Square(), real, fake)["penalty"].item() == pytest.approx(wanted)
    assert NonSaturatingR1().critic_terms(Square(), real, 3 * fake)["penalty"].item() == pytest.approx(wanted)


def test_penalty_takes_one_norm_over_all_scales() -> None:
    (real, fake), (small_real, small_fake) = images(), images(size=5)
    coarse, fine = torch.full((3, 5, 5), 0.1, dtype=torch.float64), torch.full((3, 9, 9), 0.2, dtype=torch.float64)
    terms = WassersteinGradientPenalty().critic_terms(Linear(coarse, fine), (small_real, real), (small_fake, fake))
    norm = math.hypot(coarse.norm().item(), fine.norm().item()) / 2  # the critic is the mean of its two scales
    assert terms["penalty"].item() == pytest.approx(10 * (norm - 1) ** 2)


def test_penalty_constrains_the_mean_of_a_map_of_logits() -> None:
    class Mean(Critic):
        def forward(self, image: Images, given: Tensor | None = None) -> tuple[Tensor, ...]:
            assert isinstance(image, Tensor)
            return (image.sum(1, keepdim=True),)

    real, fake = images()
    norm = math.sqrt(3 * 81) / 81
    terms = WassersteinGradientPenalty().critic_terms(Mean(), real, fake)
    assert terms["penalty"].item() == pytest.approx(10 * (norm - 1) ** 2)


def test_mixture_is_the_same_at_all_scales_and_differs_between_samples() -> None:
    critic = Patches()
    real = (torch.ones(4, 3, 5, 5, dtype=torch.float64), torch.ones(4, 3, 9, 9, dtype=torch.float64))
    fake = tuple(torch.zeros_like(x) for x in real)
    with seeded("mixture"):
        WassersteinGradientPenalty().critic_terms(critic, real, fake)
    coarse, fine = critic.seen[-1]
    share = fine[:, 0, 0, 0]
    assert torch.equal(fine, share.view(4, 1, 1, 1).expand_as(fine))
    assert torch.equal(coarse, share.view(4, 1, 1, 1).expand_as(coarse))
    assert len(share.unique()) == 4
    assert share.min() >= 0
    assert share.max() <= 1


def test_penalty_follows_the_seed() -> None:
    critic, (real, fake) = Patches(), images()

    def penalty(seed: int) -> float:
        with seeded(seed):
            return WassersteinGradientPenalty().critic_terms(critic, real, fake)["penalty"].item()

    assert penalty(0) == penalty(0)
    assert penalty(0) != penalty(1)


def test_penalty_stays_in_float32_under_autocast() -> None:
    critic, (real, fake) = Patches(dtype=torch.float32), images(dtype=torch.float32)
    with seeded("mixture"):
        wanted = WassersteinGradientPenalty().critic_terms(critic, real, fake)["penalty"]
    with seeded("mixture"), torch.autocast("cpu", dtype=torch.bfloat16):
        found = WassersteinGradientPenalty().critic_terms(critic, real, fake.bfloat16().float())["penalty"]
    assert found.item() == pytest.approx(wanted.item(), rel=1e-3)
    with seeded("mixture"), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(WassersteinGradientPenalty().critic_terms(critic, real, fake)["penalty"], wanted)


def test_penalty_stays_in_float32_behind_the_wrapper_of_fabric() -> None:
    from lightning_fabric import Fabric

    critic, (real, fake) = Patches(dtype=torch.float32), images(dtype=torch.float32)
    with seeded("mixture"):
        wanted = WassersteinGradientPenalty().critic_terms(critic, real, fake)["penalty"]
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    wrapped = fabric.setup(critic)
    with seeded("mixture"):
        terms = WassersteinGradientPenalty().critic_terms(wrapped, real, fake)
    assert torch.equal(terms["penalty"], wanted)
    fabric.backward(sum(terms.values()))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in critic.parameters())


def test_labels_reach_the_critic_untouched() -> None:
    class Labelled(Patches):
        def forward(self, image: Images, given: Tensor | None = None) -> tuple[Tensor, ...]:
            assert given is not None
            assert given.dtype == torch.long
            return super().forward(image, given)

    real, fake = images()
    WassersteinGradientPenalty().critic_terms(Labelled(), real, fake, torch.arange(3))


def test_clipping() -> None:
    critic = Patches()
    before = [p.detach().clone() for p in critic.parameters()]
    registry().create("adversarial", "core/wgan", clip=0.05).constrain(critic)
    for p, was in zip(critic.parameters(), before, strict=True):
        assert torch.equal(p.detach(), was.clamp(-0.05, 0.05))
    assert any(was.abs().max() > 0.05 for was in before)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "core/wgan"])
def test_others_constrain_nothing(name: str) -> None:
    critic = Patches()
    before = [p.detach().clone() for p in critic.parameters()]
    registry().create("adversarial", name).constrain(critic)
    assert all(torch.equal(p, was) for p, was in zip(critic.parameters(), before, strict=True))
