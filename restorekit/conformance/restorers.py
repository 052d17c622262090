"""Checks of restorers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from restorekit.conformance.probes import degraded
from restorekit.conformance.subject import Check, Failed, Skipped, Subject
from restorekit.errors import ImageError
from restorekit.images import Degraded, floats, whole_numbers
from restorekit.interfaces import Iteration, Restorer

TOLERANCE = 1e-6


def _known(restorer: Restorer, n: int = 2) -> Degraded:
    given = degraded(n)
    unknown = set(restorer.uses) - {"mask", "reference", "references", *given.params}
    if unknown:
        raise Skipped(f"reads {', '.join(sorted(unknown))}, which the kit cannot make")
    return given


def result_is_an_image(subject: Subject) -> None:
    """A finite image of the declared scale, clamped to [0, 1]."""
    restorer: Restorer = subject.build()
    given = _known(restorer)
    made = restorer.restore(given.only(restorer.uses))
    n, channels, height, width = given.image.shape
    expected = (n, channels, height * restorer.scale, width * restorer.scale)
    if not isinstance(made, Tensor) or tuple(made.shape) != expected:
        raise Failed(
            f"{tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__}; expected {expected}", "correct scale or crop"
        )
    low, high = float(made.min()), float(made.max())
    if not (low >= 0 and high <= 1):
        raise Failed(f"values from {low:.4g} to {high:.4g}", "end in .clamp(0, 1)")


def input_is_not_modified(subject: Subject) -> None:
    """The damaged image and what is known of it are left as they were."""
    restorer: Restorer = subject.build()
    given = _known(restorer)
    restorer.restore(given.only(restorer.uses))
    fresh = degraded()
    for name, value, old in (
        ("image", given.image, fresh.image),
        ("mask", given.mask, fresh.mask),
        ("reference", given.reference, fresh.reference),
        *(("references", value, old) for value, old in zip(given.references, fresh.references, strict=True)),
        *((name, given.params[name], fresh.params[name]) for name in fresh.params),
    ):
        if value is not None and old is not None and not torch.equal(value, old):
            raise Failed(f"the {name} changed", "copy before operations in place; numpy() shares memory with the tensor")


def same_input_same_result(subject: Subject) -> None:
    """The same input gives the same result, whatever was drawn before."""
    restorer: Restorer = subject.build()
    given = _known(restorer).only(restorer.uses)
    torch.manual_seed(1)
    first = restorer.restore(given)
    torch.manual_seed(2)
    second = restorer.restore(given)
    if not torch.allclose(first, second, atol=TOLERANCE):
        raise Failed(
            f"two results differ by {float((first - second).abs().max()):.2g}", "give the restorer an option seed and draw from it"
        )


def uses_nothing_undeclared(subject: Subject) -> None:
    """Only what ``uses`` declares is read."""
    restorer: Restorer = subject.build()
    given = _known(restorer)
    try:
        blind = restorer.restore(given.only(restorer.uses))
    except (ImageError, KeyError, AttributeError, TypeError) as fault:
        raise Failed(f"without what it does not declare: {type(fault).__name__}: {fault}", "add it to uses") from fault
    if not torch.allclose(restorer.restore(given), blind, atol=TOLERANCE):
        raise Failed("the result depends on more than uses declares", "add what is read to uses: the leaderboard prints who is blind")


def uses_everything_declared(subject: Subject) -> None:
    """Each thing that ``uses`` declares changes the result, or is asked for when absent."""
    restorer: Restorer = subject.build()
    given = _known(restorer).only(restorer.uses)
    if not restorer.uses:
        raise Skipped("declares to use nothing but the image")
    made = restorer.restore(given)
    for name in sorted(restorer.uses):
        try:
            same = torch.equal(restorer.restore(given.only(set(restorer.uses) - {name})), made)
        except Exception:  # noqa: S112 - it misses it; needs-are-explained looks at how
            continue
        if same and torch.equal(restorer.restore(_changed(given, name)), made):
            raise Failed(f"{name} has no effect", f"remove {name} from uses, or use it")


def _changed(given: Degraded, name: str) -> Degraded:
    if name == "mask" and given.mask is not None:
        return replace(given, mask=given.mask.roll(5, -1))
    if name == "reference" and given.reference is not None:
        return replace(given, reference=1 - given.reference)
    if name == "references":
        return replace(given, references=tuple(1 - reference for reference in given.references))
    other = given.params[name]
    value = other.transpose(-1, -2).contiguous() if name == "psf" else 2 * other
    return replace(given, params={**given.params, name: value})


def needs_are_explained(subject: Subject) -> None:
    """Where something it needs is absent, an ImageError says how to give it."""
    restorer: Restorer = subject.build()
    given = _known(restorer)
    if not restorer.uses:
        raise Skipped("declares to use nothing but the image")
    for name in sorted(restorer.uses):
        try:
            restorer.restore(given.only(set(restorer.uses) - {name}))
        except ImageError:
            continue
        except Exception as fault:
            raise Failed(f"without {name}: {type(fault).__name__}: {fault}", f'read it with degraded.need("{name}")') from fault


def whole_numbers_give_the_same(subject: Subject) -> None:
    """Of the image as whole numbers, which ``tiled`` declares to take, it makes what it makes of floats."""
    restorer: Restorer = subject.build()
    if not restorer.tiled:
        raise Skipped("declares tiled = False")
    given = _known(restorer).only(restorer.uses)
    levels = whole_numbers(given.image, torch.uint8)
    advice = "hand the image to rk.Model.restore as it comes, or set tiled = False"
    try:
        made = restorer.restore(replace(given, image=levels))
    except Exception as fault:
        raise Failed(f"{type(fault).__name__}: {fault}", advice) from fault
    expected = whole_numbers(restorer.restore(replace(given, image=floats(levels))), torch.uint8)
    if (made.dtype != torch.uint8 and not made.is_floating_point()) or not torch.equal(whole_numbers(made, torch.uint8), expected):
        raise Failed(f"another result, of type {made.dtype}", advice)


def steps_are_reported(subject: Subject) -> None:
    """One that declares ``iterative`` reports its steps in order, shows pictures of them, and stops where the listener says no."""
    restorer: Restorer = subject.build()
    if not restorer.iterative:
        raise Skipped("declares iterative = False")
    given = _known(restorer, 1).only(restorer.uses)
    unheard = restorer.restore(given)
    seen: list[Iteration] = []
    shapes = set()

    def listener(progress: Iteration) -> bool:
        seen.append(progress)
        shapes.add(tuple(progress.picture().shape))
        return True

    restorer.listener = listener
    heard = restorer.restore(given)
    steps = [progress.step for progress in seen]
    if not seen:
        raise Failed("no step was reported", "call self.report after each step, or set iterative = False")
    if steps != sorted(set(steps)) or steps[0] < 1 or any(progress.steps < steps[-1] for progress in seen):
        raise Failed(f"steps {steps[:8]} of {seen[0].steps}", "count from 1 through the whole work; steps is the most there will be")
    if shapes != {tuple(heard.shape)}:
        raise Failed(f"pictures of {sorted(shapes)}; expected {tuple(heard.shape)}", "picture makes the whole image at its full size")
    if not torch.allclose(heard, unheard, atol=TOLERANCE):
        raise Failed("the result is another one when somebody listens", "make the picture from a copy")
    seen.clear()

    def refuser(progress: Iteration) -> bool:
        seen.append(progress)
        return False

    restorer.listener = refuser
    stopped = restorer.restore(given)
    if len(seen) > 1 or stopped.shape != heard.shape:
        raise Failed(f"{len(seen)} steps were reported to one who says no", "stop where self.report returns False")


RESTORER: tuple[Check, ...] = (
    result_is_an_image,
    input_is_not_modified,
    same_input_same_result,
    uses_nothing_undeclared,
    uses_everything_declared,
    needs_are_explained,
    whole_numbers_give_the_same,
    steps_are_reported,
)
