"""One convolution."""

from torch import nn

from restorekit.interfaces import Generator


class Tiny(Generator):
    local = True

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, given=None):
        return x + self.conv(x)
