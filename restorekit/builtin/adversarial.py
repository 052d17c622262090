"""Objectives of the two-player game.

A critic judges an image by the mean of its logits over positions and scales. All terms are computed
in float32 whatever the autocast.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from restorekit.builtin.losses import widen
from restorekit.interfaces import Adversarial, Critic
from restorekit.interfaces.adversarial import Images

Smoothing = Annotated[float, Ge(0), Lt(0.5)]
"""How far the critic's label for real images is from 1."""


def _judge(critic: Callable[..., tuple[Tensor, ...]], images: Images, given: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(widen(logits) for logits in critic(images, given))


def _mean(scales: tuple[Tensor, ...], of: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over batch and positions, then over scales, so that fine scales do not outvote coarse ones."""
    return torch.stack([of(logits).mean() for logits in scales]).mean()


def _over_processes(means: Tensor) -> Tensor:
    """The mean over all processes of a run, with gradients that flow to all of them; one process has it already."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return means
    averaged: Tensor = _Average.apply(means)
    return averaged


class _Average(torch.autograd.Function):
    """Sums over the processes forwards and, since each of them has a loss that depends on the sum, backwards."""

    @staticmethod
    def forward(ctx: Any, means: Tensor) -> Tensor:
        return _Average._of_all(means)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Average._of_all(gradient)

    @staticmethod
    def _of_all(values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()


class _Separate(Adversarial):
    """An objective that looks at one image at a time: a function of the logit for each role."""

    @abstractmethod
    def of_real(self, logits: Tensor) -> Tensor:
        """What the critic minimises on real images."""

    @staticmethod
    @abstractmethod
    def of_fake(logits: Tensor) -> Tensor:
        """What the critic minimises on made images."""

    @staticmethod
    @abstractmethod
    def of_generated(logits: Tensor) -> Tensor:
        """What the generator minimises."""

    def critic_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Terms ``real`` and ``fake``."""
        return {
            "real": _mean(_judge(critic, real, given), self.of_real),
            "fake": _mean(_judge(critic, fake, given), self.of_fake),
        }

    def generator_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Term ``fake``; the real images are not looked at."""
        return {"fake": _mean(_judge(critic, fake, given), self.of_generated)}


class Minimax(_Separate):
    """The original two-player game: the generator minimises E log(1 - σ(D(fake))).

    Goodfellow et al., NIPS 2014, arXiv:1406.2661, equation 1.

    Args:
        smoothing: the critic's label for real images is 1 less this, which keeps it from growing sure of itself
            (one-sided label smoothing: Salimans et al., NIPS 2016, arXiv:1606.03498).
    """

    signed = True

    def __init__(self, *, smoothing: Smoothing = 0.0) -> None:
        self.smoothing = smoothing

    def of_real(self, logits: Tensor) -> Tensor:
        """-(1 - s) log σ(D) - s log(1 - σ(D)) with the smoothing s."""
        return F.softplus(-logits) + self.smoothing * logits

    @staticmethod
    def of_fake(logits: Tensor) -> Tensor:
        """-log(1 - σ(D))."""
        return F.softplus(logits)

    @staticmethod
    def of_generated(logits: Tensor) -> Tensor:
        """log(1 - σ(D))."""
        return -F.softplus(logits)


class NonSaturating(Minimax):
    """The game in which the generator minimises -E log σ(D(fake)), whose gradient does not vanish when the critic wins.

    Goodfellow et al., NIPS 2014, arXiv:1406.2661, section 3.
    """

    @staticmethod
    def of_generated(logits: Tensor) -> Tensor:
        """-log σ(D)."""
        return F.softplus(-logits)


class Hinge(_Separate):
    """Hinge loss: the critic ignores what it already tells apart by a margin of 1.

    Lim & Ye, Geometric GAN, 2017, arXiv:1705.02894.
    """

    signed = True

    @staticmethod
    def of_real(logits: Tensor) -> Tensor:
        """max(0, 1 - D)."""
        return F.relu(1 - logits)

    @staticmethod
    def of_fake(logits: Tensor) -> Tensor:
        """max(0, 1 + D)."""
        return F.relu(1 + logits)

    @staticmethod
    def of_generated(logits: Tensor) -> Tensor:
        """-D."""
        return -logits


class LeastSquares(_Separate):
    """Least squares, with labels 0 for made and 1 for real images and the paper's factor ½.

    Mao et al., ICCV 2017, arXiv:1611.04076, equation 9.

    Args:
        smoothing: the critic's label for real images is 1 less this (Salimans et al., NIPS 2016, arXiv:1606.03498).
    """

    def __init__(self, *, smoothing: Smoothing = 0.0) -> None:
        self.smoothing = smoothing

    def of_real(self, logits: Tensor) -> Tensor:
        """½ (D - 1 + s)² with the smoothing s."""
        return (logits - 1 + self.smoothing).square() / 2

    @staticmethod
    def of_fake(logits: Tensor) -> Tensor:
        """½ D²."""
        return logits.square() / 2

    @staticmethod
    def of_generated(logits: Tensor) -> Tensor:
        """½ (D - 1)²."""
        return (logits - 1).square() / 2


class RelativisticAverageLeastSquares(Adversarial):
    """Least squares on how much more real an image looks than the average of the other kind.

    The average is over batch and positions of each scale, as in DeblurGAN-v2 (arXiv:1908.03826), but
    without the factor ½ of its code. Where several processes have a part of the batch each, it is over all of them.
    Jolicoeur-Martineau, ICLR 2019, arXiv:1807.00734.

    Args:
        smoothing: the critic's target for real images is 1 less this (after Salimans et al., NIPS 2016, arXiv:1606.03498).
    """

    whole_batch = True

    def __init__(self, *, smoothing: Smoothing = 0.0) -> None:
        self.smoothing = smoothing

    @staticmethod
    def _terms(real: tuple[Tensor, ...], fake: tuple[Tensor, ...], of_real: float, of_fake: float) -> dict[str, Tensor]:
        means = _over_processes(torch.stack([logits.mean() for logits in (*real, *fake)]))
        of_all = list(zip(real, fake, means[: len(real)], means[len(real) :], strict=True))
        return {
            "real": torch.stack([(r - mean - of_real).square().mean() for r, _, _, mean in of_all]).mean(),
            "fake": torch.stack([(f - mean - of_fake).square().mean() for _, f, mean, _ in of_all]).mean(),
        }

    def critic_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Terms ``real`` and ``fake``."""
        return self._terms(_judge(critic, real, given), _judge(critic, fake, given), 1 - self.smoothing, -1)

    def generator_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Terms ``real`` and ``fake``: the critic's with the labels exchanged."""
        with torch.no_grad():
            judged = _judge(critic, real, given)
        return self._terms(judged, _judge(critic, fake, given), -1, 1)


class _EarthMover(_Separate):
    """The difference of means, whose supremum over 1-Lipschitz critics is the Wasserstein distance."""

    @staticmethod
    def of_real(logits: Tensor) -> Tensor:
        """-D."""
        return -logits

    @staticmethod
    def of_fake(logits: Tensor) -> Tensor:
        """D."""
        return logits

    @staticmethod
    def of_generated(logits: Tensor) -> Tensor:
        """-D."""
        return -logits


class Wasserstein(_EarthMover):
    """Wasserstein distance by a critic whose weights are clipped.

    Arjovsky, Chintala & Bottou, ICML 2017, arXiv:1701.07875.

    Args:
        clip: largest absolute value of the critic's parameters.
    """

    def __init__(self, *, clip: Annotated[float, Gt(0)] = 0.01) -> None:
        self.clip = clip

    @torch.no_grad()
    def constrain(self, critic: Critic) -> None:
        """Clip the critic's parameters in place."""
        for parameter in critic.parameters():
            parameter.clamp_(-self.clip, self.clip)


class WassersteinGradientPenalty(_EarthMover):
    """Wasserstein distance by a critic whose gradient is drawn to norm 1.

    The penalty is ``penalty`` · E (‖∇D(x̂)‖ - 1)², where x̂ lies at random between a real and a made image,
    D is the mean of the logits over positions and scales, and the norm is over all pixels, channels and
    scales of one image. It is the D of the distance that is constrained; programs that differentiate the
    sum of a patch critic's logits instead constrain a function as many times larger as there are
    positions.

    Gulrajani et al., NIPS 2017, arXiv:1704.00028.

    Args:
        penalty: weight of the penalty.
        penalty_precision: arithmetic of the penalty's gradients. ``float32`` also where the rest of the step is in
            bfloat16 or float16; ``step``: as the rest, which saves an eighth of the step's time. The norm itself
            is taken in float32 either way.
    """

    of_each_image = True

    def __init__(self, *, penalty: Annotated[float, Gt(0)] = 10.0, penalty_precision: Literal["float32", "step"] = "float32") -> None:
        self.penalty = penalty
        self.penalty_precision = penalty_precision

    def critic_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Terms ``real``, ``fake`` and ``penalty``."""
        terms = super().critic_terms(critic, real, fake, given)
        return {**terms, "penalty": self.penalty * gradient_penalty(critic, real, fake, given, wide=self.penalty_precision == "float32")}


class NonSaturatingR1(NonSaturating):
    """The non-saturating game with a critic whose gradient is drawn to zero at real images.

    The penalty is ``penalty`` / 2 · E ‖∇D(x)‖², D the mean of the logits over positions and scales, in float32 also
    under autocast. It lets the game come to rest where the distributions agree (the paper's R1).
    Mescheder, Geiger & Nowozin, ICML 2018, arXiv:1801.04406, equation 9.

    Args:
        penalty: weight of the penalty, the paper's γ.
        smoothing: as of ``core/non-saturating``.
    """

    of_each_image = True

    def __init__(self, *, penalty: Annotated[float, Gt(0)] = 10.0, smoothing: Smoothing = 0.0) -> None:
        super().__init__(smoothing=smoothing)
        self.penalty = penalty

    def critic_terms(self, critic: Critic, real: Images, fake: Images, given: Tensor | None = None) -> dict[str, Tensor]:
        """Terms ``real``, ``fake`` and ``penalty``."""
        terms = super().critic_terms(critic, real, fake, given)
        single = isinstance(real, Tensor)
        points = tuple(widen(image.detach()).clone().requires_grad_() for image in ((real,) if isinstance(real, Tensor) else real))
        squares = _gradient_norms(critic, points, single=single, given=given).square()
        return {**terms, "penalty": self.penalty / 2 * squares.mean()}


def gradient_penalty(critic: nn.Module, real: Images, fake: Images, given: Tensor | None = None, *, wide: bool = True) -> Tensor:
    """E (‖∇D(x̂)‖ - 1)² at random points between real and made images, with a graph for the critic's parameters.

    All scales of one sample are mixed in the same proportion, drawn on the CPU from torch's global
    generator, so that one seed gives the same points on every device. The gradients are computed in float32 if
    `wide`, and otherwise as autocast has it.
    """
    single = isinstance(real, Tensor)
    pairs = zip((real,) if single else real, (fake,) if isinstance(fake, Tensor) else fake, strict=True)
    ends = [(widen(r.detach()), widen(f.detach())) for r, f in pairs]
    samples, device = ends[0][0].shape[0], ends[0][0].device
    share = torch.rand(samples, 1, 1, 1).to(device)
    mixed = tuple((f + share.to(f.dtype) * (r - f)).requires_grad_() for r, f in ends)
    return (_gradient_norms(critic, mixed, single=single, given=given, wide=wide) - 1).square().mean()


def _gradient_norms(critic: nn.Module, points: tuple[Tensor, ...], *, single: bool, given: Tensor | None, wide: bool = True) -> Tensor:
    """‖∇D‖ ``(N,)`` over all scales of each sample, with a graph for the critic's parameters."""
    if not isinstance(critic, Critic):
        # A training framework's wrapper would switch autocast on again, and Lightning Fabric's refuses
        # gradients taken outside its own backward pass.
        critic = getattr(critic, "module", critic)
    if given is not None and given.is_floating_point():
        given = widen(given)
    device = points[0].device
    with torch.autocast(device.type, enabled=False) if wide else contextlib.nullcontext():
        # Not called but run: a compiled network cannot be differentiated twice.
        scales = _judge(critic.forward, points[0] if single else points, given)
        judged = torch.stack([logits.flatten(1).mean(1) for logits in scales]).mean(0)
        gradients = torch.autograd.grad(judged.sum(), points, create_graph=True)
        norms: Tensor = torch.linalg.vector_norm(torch.cat([gradient.flatten(1) for gradient in gradients], dim=1), dim=1)
        return norms
