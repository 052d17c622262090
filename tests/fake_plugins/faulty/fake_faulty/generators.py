"""Generators with one fault each."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from restorekit.images import SizeRule
from restorekit.interfaces import Generator


class Sound(Generator):
    local = True

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, given=None):
        return x + self.conv(x)


class LatentWithoutLength(Sound):
    consumes = "latent"
    size = SizeRule(fixed=(8, 8))


class LatentLength(Sound):
    latent = 16


class WrongSizeRule(Sound):
    def forward(self, x, given=None):
        return F.interpolate(F.avg_pool2d(super().forward(x), 4), scale_factor=4)


class WrongMinimum(Sound):
    def forward(self, x, given=None):
        return super().forward(x) + F.pad(x, (10, 10, 10, 10), mode="reflect")[..., 20:, 20:].mean()


class TupleInEvaluation(Sound):
    def forward(self, x, given=None):
        return F.avg_pool2d(x, 2, ceil_mode=True), super().forward(x)


class Logarithm(Sound):
    def forward(self, x, given=None):
        return super().forward(x) + x.amin().log()


class DividesByContrast(Sound):
    local = False

    def forward(self, x, given=None):
        return super().forward(x) + 0.01 * x / x.std((1, 2, 3), keepdim=True)


class UnusedLayer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Conv2d(3, 3, 1)


class Multiplied(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(()))

    def forward(self, x, given=None):
        return super().forward(x) + 0 * self.scale_factor


class Detached(Sound):
    def forward(self, x, given=None):
        return super().forward(x.detach())


class DetachedGlobally(Detached):
    local = False


class CachesInHalf(Sound):
    """Keeps its last result for when the same image comes again, in half precision."""

    kept = None

    def forward(self, x, given=None):
        if self.kept is not None and not x.requires_grad and torch.equal(self.kept[0], x):
            return self.kept[1].float()
        made = super().forward(x)
        self.kept = x.detach().clone(), made.detach().half()
        return made


class Dropout(Sound):
    def forward(self, x, given=None):
        return F.dropout(super().forward(x))


class BatchStatistics(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x, given=None):
        return self.norm(super().forward(x))


class BatchStatisticsGlobally(BatchStatistics):
    local = False


class ClampsInPlace(Sound):
    def forward(self, x, given=None):
        with torch.no_grad():
            x.clamp_(0.1, 0.9)
        return super().forward(x)


class InPlace(Sound):
    def forward(self, x, given=None):
        return super().forward(x.mul_(2) if not x.requires_grad else x)


class HiddenNoise(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.noise = 0.1 * torch.randn(())

    def forward(self, x, given=None):
        noise = torch.randn(()) if self.noise.is_meta else self.noise
        return super().forward(x) + noise


class Shared(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.again.weight = self.conv.weight

    def forward(self, x, given=None):
        return super().forward(x) + self.again(x)


class GlobalPool(Sound):
    def forward(self, x, given=None):
        return super().forward(x) + x.mean((2, 3), keepdim=True)


class SmallAreOther(Sound):
    def forward(self, x, given=None):
        made = super().forward(x)
        return made + x.mean((2, 3), keepdim=True) if min(x.shape[-2:]) < 16 else made


class DetachedPool(Sound):
    def forward(self, x, given=None):
        return super().forward(x) + x.detach().amax((2, 3), keepdim=True) * x.detach().mean((2, 3), keepdim=True)


class StartsAtZero(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x, given=None):
        return super().forward(x) + self.attention * x.mean((2, 3), keepdim=True)


class CoarserThanItSays(Sound):
    """Works on squares of eight pixels and takes any size, so that a tile that begins within a square sees others."""

    def forward(self, x, given=None):
        height, width = x.shape[-2:]
        even = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
        squares = F.interpolate(F.avg_pool2d(even, 8), scale_factor=8)
        return super().forward(x) + 0.5 * squares[..., :height, :width]


class GlobalByDefault(Sound):
    """Local by an option, and not even then."""

    def __init__(self, *, norm: Literal["instance", "none"] = "instance") -> None:
        super().__init__()
        self.local = norm == "none"
        self.norm = nn.InstanceNorm2d(3) if norm == "instance" else nn.Identity()

    def forward(self, x, given=None):
        return super().forward(self.norm(x)) + x.mean((2, 3), keepdim=True)


class RemembersTheFirstImage(Sound):
    """Computes something of the brightness once, and keeps it for all images that follow."""

    local = False
    kept = None

    def forward(self, x, given=None):
        if self.kept is None:
            self.kept = x.detach().mean()
        return super().forward(x) + 0.5 * self.kept


class GrowsOutsideItsState(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.step = 10**6

    def grow(self, step):
        self.step = step


class GrowsByAFloat(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.ones(()))

    def grow(self, step):
        self.share.fill_(min(1.0, step / 100))

    def forward(self, x, given=None):
        return x + self.share * self.conv(x)


class SmallWhenYoung(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(100))

    def grow(self, step):
        self.steps.fill_(min(100, step))

    def forward(self, x, given=None):
        made = super().forward(x)
        return made if int(self.steps) == 100 else F.avg_pool2d(made, 2)
