"""Restorers with one fault each."""

from functools import partial

import torch

from restorekit.interfaces import Iteration, Restorer


class Overshoots(Restorer):
    def restore(self, degraded):
        return 1.2 * degraded.image - 0.1


class Shrinks(Restorer):
    def restore(self, degraded):
        return degraded.image[..., 1:, :]


class InPlace(Restorer):
    def restore(self, degraded):
        return degraded.image.mul_(0.9)


class Dithers(Restorer):
    def restore(self, degraded):
        return (degraded.image + 0.01 * torch.randn(degraded.image.shape)).clamp(0, 1)


class FollowsTheGlobalSeed(Restorer):
    def restore(self, degraded):
        rng = torch.Generator().manual_seed(torch.initial_seed())
        return (degraded.image + 0.01 * torch.randn(degraded.image.shape, generator=rng)).clamp(0, 1)


class Peeks(Restorer):
    def restore(self, degraded):
        return degraded.image if degraded.mask is None else degraded.image * (1 - degraded.mask) + degraded.mask


class NeedsUndeclared(Restorer):
    def restore(self, degraded):
        return (degraded.image * degraded.need("psf").sum((-2, -1))[:, None, None, None]).clamp(0, 1)


class PretendsToSee(Restorer):
    uses = frozenset({"psf"})

    def restore(self, degraded):
        return degraded.image


class BareKey(Restorer):
    uses = frozenset({"psf"})

    def restore(self, degraded):
        return (degraded.image * degraded.params["psf"][:, :1, :1, None]).clamp(0, 1)


class TakesLevelsForFloats(Restorer):
    tiled = True

    def restore(self, degraded):
        return degraded.image.float().clamp(0, 1)


class RefusesLevels(Restorer):
    tiled = True

    def restore(self, degraded):
        return degraded.image.sqrt().square()


class Fades(Restorer):
    """Without a fault, for those below."""

    iterative = True
    first, steps = 1, 3

    def restore(self, degraded):
        made = degraded.image.clone()
        for step in range(self.first, self.first + 3):
            made *= 0.9
            if not self.report(Iteration(step, self.steps, {}, partial(self.shown, made))):
                break
        return made

    def shown(self, made):
        return made


class IsSilent(Restorer):
    iterative = True

    def restore(self, degraded):
        return degraded.image


class CountsFromZero(Fades):
    first = 0


class TakesMoreSteps(Fades):
    steps = 2


class ShowsACorner(Fades):
    def shown(self, made):
        return made[..., :8, :8]


class ShowsByChanging(Fades):
    def shown(self, made):
        return made.mul_(0.9)


class GoesOn(Fades):
    def report(self, progress):
        super().report(progress)
        return True
