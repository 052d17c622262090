"""PSF estimators with one fault each."""

import torch
import torch.nn.functional as F

from restorekit.interfaces import Estimator


class Sound(Estimator):
    def __init__(self) -> None:
        super().__init__()
        self.size = 5

    def forward(self, image):
        return self.spread(image).detach()

    def spread(self, image):
        width = image.float().std(dim=(1, 2, 3)).clamp(min=0.1)
        steps = torch.arange(5.0) - 2
        psf = torch.exp(-(steps[:, None] ** 2 + steps**2) / (2 * width[:, None, None] ** 2))
        return psf / psf.sum(dim=(1, 2), keepdim=True)


class EvenSize(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.size = 6


class Negative(Sound):
    def spread(self, image):
        psf = super().spread(image) - 0.01
        return psf / psf.sum(dim=(1, 2), keepdim=True)


class OffCentre(Sound):
    def spread(self, image):
        return torch.roll(super().spread(image), 2, 2)


class NothingForFlat(Sound):
    def spread(self, image):
        return super().spread(image) * image.std(dim=(1, 2, 3)).div(image.std(dim=(1, 2, 3)))[:, None, None]


class FirstOfBatch(Sound):
    def spread(self, image):
        return super().spread(len(image) * image[:1]).expand(len(image), -1, -1)


class ClampsInPlace(Sound):
    def spread(self, image):
        return super().spread(image.clamp_(0.1, 0.9))


class BlursInPlace(Sound):
    def spread(self, image):
        psf = super().spread(image)
        image.copy_(F.avg_pool2d(image, 3, 1, 1))
        return psf
