"""The keys ``data`` and ``train`` of a recipe: their constructors are the schema, as for parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

BUNDLED = "bundled"
"""``data.train`` or ``data.validation`` given as this word: the photographs inside scikit-image."""

BUNDLED_SETS = {
    BUNDLED: "the photographs inside scikit-image",
    "bundled-faces": "80 faces inside scikit-image, 25×25 pixels, grey",
    "bundled-faces-heldout": "20 other faces",
    "bundled-textures": "three textures inside scikit-image (brick, grass, gravel), the upper three quarters of each",
    "bundled-textures-heldout": "the lower quarters",
}
"""What needs no folder, by the word that stands for it."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, and how patches are cut from them.

    Attributes:
        train: folder of photographs, searched recursively, or ``bundled``, ``bundled-faces`` or ``bundled-textures``.
        degraded: folder of the degraded counterparts of `train`, matched by name.
        layout: what the folders hold: ``sharp`` photographs, ``ab``: pairs side by side in one picture, ``gopro``:
            pairs as ``scene/blur`` and ``scene/sharp``; ``auto`` looks.
        blur_folder: the folder beside ``sharp`` that holds the blurred pictures of the layout ``gopro``.
        sharp_half: the sharp half of a picture of the layout ``ab``.
        validation: another such folder; null holds some of the training images out.
        validation_degraded: folder of the degraded counterparts of `validation`.
        synthetic: folder of sharp photographs from which pairs are made with the recipe's degradation, beside the
            real pairs of `train`; null takes the sharp sides of these.
        synthetic_share: share of the patches that are made so; the rest are real pairs.
        fixed_degradation: damage each photograph once, as a whole, as if it had come as a pair, instead of afresh for
            every patch.
        holdout: share of the training images that is held out where `validation` is null; a generator of latent vectors trains on all.
        reference: a picture, a folder of pictures or a list of them, of which every patch gets one as its `reference`, for
            losses and generators that read it, such as those of style; a generator with `classes` gets its number.
        reference_side: height and width that they are brought to; null for `crop`.
        crop: height and width of a training patch, in pixels of the sharp image.
        batch: patches a step.
        flips: mirror and turn patches by multiples of 90°; ``mirror`` only mirrors them left and right.
        whole: each patch is the largest square of a photograph, brought to `crop` pixels, instead of a piece of it; smaller
            photographs are enlarged.
        sharp_share: share of the patches that are not degraded, so that the network learns to leave
            good pictures alone.
        zoom: range from which each patch's scale is drawn; below 1 shrinks the photograph first.
        colour_jitter: how far brightness, contrast and saturation are changed, from 0 to the double at 1; the hue
            turns by up to 90° times this. A pair changes alike, and before it is degraded.
        memory: MiB up to which the training photographs are decoded once and kept; larger sets are read file by file.
        workers: processes that make batches in advance; null takes none on the processor, which the network needs,
            and as many as there are other cores, up to 8, elsewhere. Batches are the same with any number.
        validation_images: at most this many validation images are scored.
    """

    train: str = ""
    degraded: str | None = None
    layout: Literal["auto", "sharp", "ab", "gopro"] = "auto"
    blur_folder: str = "blur"
    sharp_half: Literal["left", "right"] = "right"
    validation: str | None = None
    validation_degraded: str | None = None
    synthetic: str | None = None
    synthetic_share: Annotated[float, Ge(0), Lt(1)] = 0.0
    fixed_degradation: bool = False
    holdout: Annotated[float, Gt(0), Lt(1)] = 0.1
    reference: str | tuple[str, ...] | None = None
    reference_side: Annotated[int, Ge(8)] | None = None
    crop: Annotated[int, Ge(8)] = 128
    batch: Annotated[int, Ge(1)] = 8
    flips: bool | Literal["mirror"] = True
    whole: bool = False
    sharp_share: Annotated[float, Ge(0), Le(1)] = 0.0
    zoom: tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Gt(0), Le(1)]] = (1.0, 1.0)
    colour_jitter: Annotated[float, Ge(0), Le(1)] = 0.0
    memory: Annotated[int, Ge(0)] = 2048
    workers: Annotated[int, Ge(0)] | None = None
    validation_images: Annotated[int, Ge(1)] = 16

    def __post_init__(self) -> None:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom: got {list(self.zoom)}; expected [low, high]")
        if self.whole and self.zoom != (1.0, 1.0):
            raise ValueError("whole: a whole photograph has no zoom; leave one of the two out")
        if self.degraded is not None and self.layout != "auto":
            raise ValueError(f"degraded: two folders are a layout of their own; leave out layout={self.layout}")
        if self.validation_degraded is not None and self.validation is None:
            raise ValueError("validation_degraded: give the sharp side too, as validation")
        if self.synthetic is not None and not self.synthetic_share:
            raise ValueError("synthetic: say how many of the patches are made of it: synthetic_share")


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
        critic_start: steps that the generator trains by its losses alone before the critic joins.
        freeze: modules of the generator, such as ``trunk``, each with the number of steps for which its weights stay as they
            are at first.
        critic_rest: the critic is not updated while its loss, the sum of its terms, is below this; null never rests.
        augment: differentiable changes of all images that the critic sees: ``colour``, ``translation``, ``cutout``.
        augment_probability: of each of them for each image; ``adaptive`` starts at 0 and follows the critic.
        augment_target: mean sign of the critic's logits of real images that the adaptive probability aims at.
        augment_images: images over which it goes from 0 to 1 at most.
        instance_noise: deviation of Gaussian noise on all images that the critic sees, falling to 0 over the run.
        ema: decay of the exponential moving average of the generator's weights, which is what is
            validated and saved; 0 switches it off. The average warms up as (1 + step) / (10 + step).
        clip_gradient: largest norm of the generator's gradient; null does not clip.
        clip_critic_gradient: the same for the critic.
        micro_batches: parts into which a batch is divided, worked through one after another and their gradients added
            up, for networks that need more memory than there is. The result is that of the whole batch, save for batch
            norm, which sees one part, and dropout, which is drawn for each. Objectives that average over the batch, such
            as ``core/ragan-ls``, are refused.
        precision: ``fp32``, ``bf16`` (autocast; gradient penalties stay in fp32), ``fp16`` (the same with scaled
            gradients, on CUDA only), or ``auto``: bf16 where the processor has instructions for it, else fp32.
        channels_last: keep feature maps in channels-last order.
        compile: compile the networks with ``torch.compile``: a minute's wait, then faster steps on CUDA.
        validate_every: steps between validations.
        patience: end training after so many validations without a better PSNR, with the weights that had the best;
            null goes on to the end.
        checkpoint_every: steps between checkpoints.
        keep: checkpoints kept, the newest included.
        watch: watch for non-finite values, divergence, collapse and a critic that wins, go back to the last good state
            and change the learning rates.
        watch_tries: times that the watch goes back before it gives up.
        watch_every: steps between looks at a fixed set of pictures, after each of which a healthy state is remembered.
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
    critic_start: Annotated[int, Ge(0)] = 0
    freeze: Mapping[str, Annotated[int, Ge(1)]] | None = None
    critic_rest: float | None = None
    augment: tuple[Literal["colour", "translation", "cutout"], ...] = ()
    augment_probability: Annotated[float, Ge(0), Le(1)] | Literal["adaptive"] = 1.0
    augment_target: Annotated[float, Gt(-1), Lt(1)] = 0.6
    augment_images: Annotated[int, Ge(1)] = 50_000
    instance_noise: Annotated[float, Ge(0)] = 0.0
    ema: Annotated[float, Ge(0), Lt(1)] = 0.999
    clip_gradient: Annotated[float, Gt(0)] | None = None
    clip_critic_gradient: Annotated[float, Gt(0)] | None = None
    micro_batches: Annotated[int, Ge(1)] = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = False
    compile: bool = False
    validate_every: Annotated[int, Ge(1)] = 500
    patience: Annotated[int, Ge(1)] | None = None
    checkpoint_every: Annotated[int, Ge(1)] = 500
    keep: Annotated[int, Ge(1)] = 2
    watch: bool = True
    watch_tries: Annotated[int, Ge(1)] = 5
    watch_every: Annotated[int, Ge(1)] = 50

    def __post_init__(self) -> None:
        if self.augment_probability == "adaptive" and not self.augment:
            raise ValueError("augment_probability: nothing is augmented; say what: augment=[colour, translation, cutout]")
