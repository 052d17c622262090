"""The keys ``data`` and ``train`` of a recipe: their constructors are the schema, as for parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

BUNDLED = "bundled"
"""``data.train`` or ``data.validation`` given as this word: the photographs inside scikit-image."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, and how patches are cut from them.

    Attributes:
        train: folder of sharp images, searched recursively, or ``bundled``.
        validation: another such folder; null holds some of the training images out.
        holdout: share of the training images that is held out where `validation` is null.
        crop: height and width of a training patch, in pixels of the sharp image.
        batch: patches a step.
        flips: mirror and turn patches by multiples of 90°.
        sharp_share: share of the patches that are not degraded, so that the network learns to leave
            good pictures alone.
        zoom: range from which each patch's scale is drawn; below 1 shrinks the photograph first.
        validation_images: at most this many validation images are scored.
    """

    train: str = ""
    validation: str | None = None
    holdout: Annotated[float, Gt(0), Lt(1)] = 0.1
    crop: Annotated[int, Ge(8)] = 128
    batch: Annotated[int, Ge(1)] = 8
    flips: bool = True
    sharp_share: Annotated[float, Ge(0), Le(1)] = 0.0
    zoom: tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Gt(0), Le(1)]] = (1.0, 1.0)
    validation_images: Annotated[int, Ge(1)] = 16

    def __post_init__(self) -> None:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom: got {list(self.zoom)}; expected [low, high]")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How the networks are optimised.

    Attributes:
        steps: steps of the generator.
        seed: of initial weights, batches and everything else that is drawn.
        learning_rate: peak learning rate of AdamW.
        critic_learning_rate: the critic's own; null takes the generator's.
        betas: of AdamW.
        weight_decay: of AdamW.
        schedule: ``cosine`` decays to a hundredth of the peak, ``linear`` holds half of the way and then
            falls to zero, ``constant`` stays.
        warmup: steps over which the learning rate rises from zero.
        critic_steps: steps of the critic for each step of the generator.
        ema: decay of the exponential moving average of the generator's weights, which is what is
            validated and saved; 0 switches it off. The average warms up as (1 + step) / (10 + step).
        clip_gradient: largest norm of the generator's gradient; null does not clip.
        precision: ``fp32``, ``bf16`` (autocast; gradient penalties stay in fp32), or ``auto``: bf16 where the processor
            has instructions for it.
        channels_last: keep feature maps in channels-last order.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
    """

    steps: Annotated[int, Ge(1)] = 10_000
    seed: Annotated[int, Ge(0)] = 0
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    critic_learning_rate: Annotated[float, Gt(0)] | None = None
    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.99)
    weight_decay: Annotated[float, Ge(0)] = 0.0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Annotated[int, Ge(0)] = 0
    critic_steps: Annotated[int, Ge(1)] = 1
    ema: Annotated[float, Ge(0), Lt(1)] = 0.999
    clip_gradient: Annotated[float, Gt(0)] | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool = False
    validate_every: Annotated[int, Ge(1)] = 500
    checkpoint_every: Annotated[int, Ge(1)] = 500
