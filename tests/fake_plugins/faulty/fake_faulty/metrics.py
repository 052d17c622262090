"""Metrics with one fault each."""

import torch

from restorekit.interfaces import Metric, SetMetric


class Sound(Metric):
    """Mean absolute difference."""

    higher_is_better = False
    bounds = (0.0, 1.0)

    def forward(self, restored, target=None):
        return (restored - target).abs().mean((1, 2, 3))


class Mute(Metric):
    bounds = (0.0, 1.0)

    def forward(self, restored, target=None):
        return (restored - target).abs().mean((1, 2, 3))


class NoUnit(Sound):
    unit = None


class OneNumber(Sound):
    def forward(self, restored, target=None):
        return super().forward(restored, target).mean()


class Pooled(Sound):
    def forward(self, restored, target=None):
        return super().forward(restored, target).mean().expand(len(restored))


class Positional(Sound):
    def forward(self, restored, target=None):
        return super().forward(restored, target).sort().values


class WrongDirection(Sound):
    higher_is_better = True


class WrongBounds(Sound):
    bounds = (0.0, 0.2)


class InPlace(Sound):
    def forward(self, restored, target=None):
        return super().forward(restored.mul_(0.5), target)


class ClampsInPlace(Sound):
    def forward(self, restored, target=None):
        return super().forward(restored.clamp_(0.1, 0.9), target)


class SoundSet(SetMetric):
    higher_is_better = False
    bounds = (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.scores = []

    def update(self, restored, target=None):
        self.scores += (restored - target).abs().mean((1, 2, 3)).tolist()

    def compute(self):
        return sum(self.scores) / len(self.scores)


class ReturnsTensor(SoundSet):
    def compute(self):
        return torch.tensor(super().compute())


class Drains(SoundSet):
    def compute(self):
        value = super().compute()
        self.scores = self.scores[1:]
        return value


class MeanOfMeans(SoundSet):
    def update(self, restored, target=None):
        self.scores.append(float((restored - target).abs().mean((1, 2, 3)).amax()))


class WrongSetDirection(SoundSet):
    higher_is_better = True


class Pairs(SoundSet):
    paired = False
