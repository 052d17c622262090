"""Checks of degradations."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restorekit import config, seeding
from restorekit.conformance.probes import photo
from restorekit.conformance.state import flatten
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.images import Degraded
from restorekit.interfaces import Degradation

N, CHANNELS, HEIGHT, WIDTH = 4, 3, 48, 64
SHAPE = (CHANNELS, HEIGHT, WIDTH)


def _sample(part: Degradation, n: int = N, shape: tuple[int, int, int] = SHAPE) -> dict[str, Tensor]:
    return part.sample(n, shape, seeding.generator("conformance"))


def _done(subject: Subject) -> tuple[Degradation, Tensor, Degraded]:
    part: Degradation = subject.build()
    image = photo(N, HEIGHT, WIDTH)
    return part, image, part.apply(image, _sample(part))


def samples_are_as_declared(subject: Subject) -> None:
    """Sampling gives CPU tensors under the declared names, one row per image."""
    part: Degradation = subject.build()
    for n in (1, N):
        params = _sample(part, n)
        if set(params) != set(part.params):
            raise Failed(f"{sorted(params)}; declared {sorted(part.params)}", "set params to the names that sample returns")
        for name, value in params.items():
            if not isinstance(value, Tensor) or value.device.type != "cpu" or value.ndim < 1 or value.shape[0] != n:
                seen = f"{tuple(value.shape)} on {value.device}" if isinstance(value, Tensor) else type(value).__name__
                raise Failed(f"{name} is {seen} for {n} images", "return CPU tensors whose first dimension is n")


def same_seed_same_result(subject: Subject) -> None:
    """The same seed gives the same damage, whatever was drawn before."""
    part: Degradation = subject.build()
    image = photo(N, HEIGHT, WIDTH)
    results = []
    with _put_back():
        for outside in (1, 2):
            _seed_everything(outside)
            params = _sample(part)
            results.append((flatten(params), flatten(part.apply(image, params).image)))
    if results[0][0] != results[1][0]:
        raise Failed("sample drew from something else", "draw from the rng that is passed in, and from nothing else")
    if results[0][1] != results[1][1]:
        raise Failed("apply drew random numbers of its own", "draw everything in sample and keep it in params")


# A part may draw from any of the three global states, which is what is looked for.
def _seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def _global_states() -> dict[str, Any]:
    return {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate()}  # noqa: NPY002


@contextlib.contextmanager
def _put_back() -> Iterator[None]:
    states = _global_states()
    try:
        yield
    finally:
        torch.set_rng_state(states["torch"])
        np.random.set_state(states["numpy"])  # noqa: NPY002
        random.setstate(states["random"])


def global_random_state_is_untouched(subject: Subject) -> None:
    """Neither torch's, NumPy's nor Python's global random state changes."""
    part: Degradation = subject.build()
    with _put_back():
        before = flatten(_global_states())
        part.apply(photo(N, HEIGHT, WIDTH), _sample(part))
        after = flatten(_global_states())
    touched = {path.split("]")[0].strip("[") for path in before if before[path] != after[path]}
    if touched:
        raise Failed(f"{', '.join(sorted(touched))} changed", "draw from the rng that is passed to sample")


def result_is_an_image(subject: Subject) -> None:
    """A finite image in [0, 1] of the declared scale, for photographs and for black and white."""
    part: Degradation = subject.build()
    image = photo(N, HEIGHT, WIDTH)
    params = _sample(part)
    for given in (image, torch.zeros_like(image), torch.ones_like(image)):
        done = part.apply(given, params)
        if not isinstance(done, Degraded):
            raise Failed(f"apply returned {type(done).__name__}", "return restorekit.images.Degraded")
        expected = (N, CHANNELS, HEIGHT // part.scale, WIDTH // part.scale)
        if tuple(done.image.shape) != expected:
            raise Failed(f"shape {tuple(done.image.shape)}; expected {expected}", "keep the size, or declare scale")
        low, high = float(done.image.min()), float(done.image.max())
        if not (low >= -1e-6 and high <= 1 + 1e-6):
            raise Failed(f"values from {low:.4g} to {high:.4g}", "end in .clamp(0, 1)")


def what_was_done_is_recorded(subject: Subject) -> None:
    """The result holds the parameters, and the mask where pixels are missing: (N, 1, H, W) of 0 and 1."""
    part, _, done = _done(subject)
    missing = set(part.params) - set(done.params)
    if missing:
        raise Failed(f"{', '.join(sorted(missing))} is not in Degraded.params", "pass params on: Degraded(image, params=params)")
    if done.mask is not None:
        expected = (N, 1, *done.image.shape[-2:])
        if tuple(done.mask.shape) != expected or not ((done.mask == 0) | (done.mask == 1)).all():
            raise Failed(f"a mask {tuple(done.mask.shape)}, or values other than 0 and 1", f"make it {expected}, 1 = missing")


def images_are_damaged_apart(subject: Subject) -> None:
    """Each image's damage depends on its own parameters alone."""
    part, image, done = _done(subject)
    params = _sample(part)
    for i in (1, N - 1):
        alone = part.apply(image[i : i + 1], {name: value[i : i + 1] for name, value in params.items()})
        worst = float((alone.image - done.image[i : i + 1]).abs().max())
        if not worst <= 1e-5:
            raise Failed(f"image {i} alone differs by {worst:.2g}", "use one set of parameters per image: a kernel per sample")


def input_is_not_modified(subject: Subject) -> None:
    """The sharp image is left as it was."""
    part: Degradation = subject.build()
    image = photo(N, HEIGHT, WIDTH)
    before = image.clone()
    part.apply(image, _sample(part))
    if not torch.equal(image, before):
        raise Failed("apply changed its input", "avoid operations in place on the image")


def pair_stays_registered(subject: Subject) -> None:
    """The damaged image lies on the sharp one: shifting it by a pixel fits worse, and the PSF's centroid is its centre."""
    part, image, done = _done(subject)
    psf = done.params.get("psf")
    if psf is not None:
        worst = float(_centroid_offset(psf).abs().max())
        if not worst <= 0.01:
            raise Failed(f"the PSF's centroid is {worst:.3g} pixels off its centre", "move the kernel so that its centroid is the centre")
    shown = F.interpolate(done.image, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    seen = torch.ones_like(shown[:, :1]) if done.mask is None else 1 - done.mask
    if part.scale > 1 and done.mask is not None:
        raise Skipped("reduced and masked at once")
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    errors = {
        (y, x): float((((shown.roll((y, x), (2, 3)) - image) ** 2) * seen.roll((y, x), (2, 3)))[inner].mean())
        for y in (-2, -1, 0, 1, 2)
        for x in (-2, -1, 0, 1, 2)
    }
    best = min(errors, key=lambda shift: (errors[shift], abs(shift[0]) + abs(shift[1])))
    if best != (0, 0):
        raise Failed(f"it fits best when moved by {best[0]} rows and {best[1]} columns", "centre the kernel; pad by the same on both sides")


def _centroid_offset(psf: Tensor) -> Tensor:
    height, width = psf.shape[-2:]
    rows = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    weight = psf.double().sum((-2, -1))
    return torch.stack(((psf.double().sum(-1) * rows).sum(-1) / weight, (psf.double().sum(-2) * columns).sum(-1) / weight))


def _blur_only(subject: Subject, part: Degradation) -> Mapping[str, Tensor]:
    if any(option.slot for option in config.options_of(subject.target).values()):
        raise Skipped("made of other degradations, which are checked alone")
    params = _sample(part)
    if "psf" not in params:
        raise Skipped("has no PSF")
    return params


def blur_keeps_the_brightness(subject: Subject) -> None:
    """The PSF is not negative and sums to 1, and a constant image stays constant to 1e-5, borders included."""
    part: Degradation = subject.build()
    params = _blur_only(subject, part)
    psf = params["psf"]
    worst = float((psf.double().sum((-2, -1)) - 1).abs().max())
    if worst > 1e-5 or float(psf.min()) < 0:
        raise Failed(f"the PSF's sum is off by {worst:.2g}, its least value {float(psf.min()):.2g}", "divide the kernel by its sum")
    flat = torch.full((N, *SHAPE), 0.6)
    worst = float((part.apply(flat, params).image - flat).abs().max())
    if not worst <= 1e-5:
        raise Failed(f"a constant image changed by {worst:.2g}", "reflect borders; pad with zeros nowhere")


def margin_is_true(subject: Subject) -> None:
    """Farther from the border than the declared margin, a patch is blurred as within the whole photograph."""
    part: Degradation = subject.build()
    params = _blur_only(subject, part)
    cut, margin = 16, part.margin
    side = 2 * margin + 16
    whole = photo(N, side + 2 * cut, side + 2 * cut)
    inside = (slice(None), slice(None), slice(margin, margin + 16), slice(margin, margin + 16))
    patch = whole[..., cut:-cut, cut:-cut]
    seen = part.apply(patch, params).image[inside]
    expected = part.apply(whole, params).image[..., cut:-cut, cut:-cut][inside]
    worst = float((seen - expected).abs().max())
    if not worst <= 1e-5:
        raise Failed(f"differs by {worst:.2g} beyond the margin of {margin} pixels", "set margin to half the kernel's size, rounded up")


DEGRADATION: tuple[Check, ...] = (
    samples_are_as_declared,
    same_seed_same_result,
    global_random_state_is_untouched,
    result_is_an_image,
    what_was_done_is_recorded,
    images_are_damaged_apart,
    input_is_not_modified,
    pair_stays_registered,
    blur_keeps_the_brightness,
    margin_is_true,
)
