"""Degradations with one fault each."""

import numpy as np
import torch
import torch.nn.functional as F

from restorekit.images import Degraded
from restorekit.interfaces import Degradation


class Sound(Degradation):
    """A blur by a symmetric random kernel of 5×5 pixels."""

    params = ("psf",)
    margin = 2

    def sample(self, n, shape, rng):
        psf = torch.rand(n, 5, 5, generator=rng)
        psf = psf + psf.flip((-2, -1))
        return {"psf": psf / psf.sum((-2, -1), keepdim=True)}

    def apply(self, image, params):
        return Degraded(self.filtered(image, params["psf"]), params=params)

    def filtered(self, image, psf, mode="reflect"):
        n, c, h, w = image.shape
        padded = F.pad(image, (2, 2, 2, 2), mode=mode).reshape(1, n * c, h + 4, w + 4)
        kernel = psf[:, None, None].expand(n, c, 1, 5, 5).reshape(n * c, 1, 5, 5)
        return F.conv2d(padded, kernel, groups=n * c).reshape(n, c, h, w).clamp(0, 1)


class Undeclared(Sound):
    params = ("psf", "sigma")


class MoreThanDeclared(Sound):
    params = ()


class OneForAll(Sound):
    def sample(self, n, shape, rng):
        return {"psf": super().sample(1, shape, rng)["psf"][0]}

    def apply(self, image, params):
        return super().apply(image, {"psf": params["psf"].expand(len(image), 5, 5)})


class GlobalDraw(Sound):
    def sample(self, n, shape, rng):
        return super().sample(n, shape, torch.Generator().manual_seed(torch.initial_seed()))


class DrawsInApply(Sound):
    def apply(self, image, params):
        done = super().apply(image, params)
        noise = torch.randn(done.image.shape, generator=torch.Generator().manual_seed(torch.initial_seed()))
        return Degraded((done.image + 0.01 * noise).clamp(0, 1), params=params)


class SeedsGlobally(Sound):
    def sample(self, n, shape, rng):
        torch.manual_seed(0)
        return super().sample(n, shape, rng)


class SeedsNumpy(Sound):
    def sample(self, n, shape, rng):
        np.random.rand()  # noqa: NPY002
        return super().sample(n, shape, rng)


class Unclamped(Sound):
    def apply(self, image, params):
        return Degraded(1.2 * image - 0.1, params=params)


class OvershootsAtWhite(Sound):
    def apply(self, image, params):
        done = super().apply(image, params)
        return Degraded(done.image + 0.01 * (done.image > 0.9999), params=params)


class Crops(Sound):
    def apply(self, image, params):
        return Degraded(self.filtered(image, params["psf"])[..., 2:-2, 2:-2], params=params)


class Forgets(Sound):
    def apply(self, image, params):
        return Degraded(self.filtered(image, params["psf"]))


class GreyMask(Sound):
    def apply(self, image, params):
        return Degraded(0.5 * image, mask=torch.full_like(image[:, :1], 0.5), params=params)


class FirstKernelForAll(Sound):
    def apply(self, image, params):
        return Degraded(self.filtered(image, params["psf"][:1].expand(len(image), 5, 5)), params=params)


class InPlace(Sound):
    def apply(self, image, params):
        return super().apply(image.mul_(0.5), params)


class ClampsInPlace(Sound):
    def apply(self, image, params):
        return super().apply(image.clamp_(0.1, 0.9), params)


class OffCentre(Sound):
    def sample(self, n, shape, rng):
        psf = torch.zeros(n, 5, 5)
        psf[:, 2, 2], psf[:, 2, 3] = 0.9, 0.1
        return {"psf": psf}


class Shifts(Sound):
    def apply(self, image, params):
        return Degraded(image.roll(1, -1), params=params)


class DarkBorders(Sound):
    def apply(self, image, params):
        return Degraded(self.filtered(image, params["psf"], mode="constant"), params=params)


class SumsToMore(Sound):
    def sample(self, n, shape, rng):
        return {"psf": 1.01 * super().sample(n, shape, rng)["psf"]}


class NoMargin(Sound):
    margin = 0
