"""Critics with one fault each."""

from torch import nn

from restorekit.interfaces import Critic


class Sound(Critic):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 4, 2, 1)

    def forward(self, image, given=None):
        return (self.conv(image),)


class Averaged(Sound):
    def forward(self, image, given=None):
        return (self.conv(image).mean((2, 3)),)


class NoTuple(Sound):
    def forward(self, image, given=None):
        return self.conv(image)


class OddSize(Sound):
    def forward(self, image, given=None):
        return (self.conv(image).reshape(len(image), 1, 37, 37),)


class Sigmoid(Sound):
    def forward(self, image, given=None):
        return (self.conv(image).sigmoid(),)


class Infinite(Sound):
    def forward(self, image, given=None):
        return (self.conv(image) / image.amin(),)


class UnusedLayer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)
