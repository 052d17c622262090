"""Where every tutorial begins: the fully-connected pair at 28×28 pixels, and the smallest convolutional one.

Goodfellow et al., "Generative adversarial nets", NIPS 2014, arXiv:1406.2661. Its experiments have maxout layers and dropout
in the critic; here it has LeakyReLU, as in what has been written about it since.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor, nn

from restorekit.images import SizeRule
from restorekit.interfaces import Critic, Generator
from restorekit_dcgan.layers import SLOPE, as_image, wanted_size

SIDE = 28


class VanillaGenerator(Generator):
    """Two hidden layers between the latent vector and the pixels.

    Shapes: latent ``(N, latent)`` from a standard normal in, image ``(N, channels, 28, 28)`` in [0, 1] out.

    Args:
        channels: 1 for grey, 3 for RGB.
        width: units of each hidden layer.
        latent: length of the latent vector.
    """

    consumes = "latent"
    size = SizeRule(fixed=(SIDE, SIDE))

    def __init__(self, *, channels: Literal[1, 3] = 1, width: Annotated[int, Gt(0)] = 128, latent: Annotated[int, Gt(0)] = 100) -> None:
        super().__init__()
        self.channels, self.latent = channels, latent
        self.layers = nn.Sequential(
            nn.Linear(latent, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, channels * SIDE**2),
            nn.Tanh(),
        )

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """One picture from each latent vector; `given` is not used."""
        return as_image(self.layers(x).view(-1, self.channels, SIDE, SIDE))


class VanillaCritic(Critic):
    """Two hidden layers between the pixels and one logit.

    Shapes: image ``(N, channels, 28, 28)`` in [0, 1] in, logits ``(N, 1, 1, 1)`` out.

    Args:
        channels: 1 for grey, 3 for RGB.
        width: units of each hidden layer.
    """

    def __init__(self, *, channels: Literal[1, 3] = 1, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Linear(channels * SIDE**2, width),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Linear(width, width),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Linear(width, 1),
        )

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures; `given` is not used.

        Raises:
            UserError: pictures of another size.
        """
        return (self.layers(wanted_size(image, SIDE, "dcgan/vanilla").flatten(1))[:, :, None, None],)


class SmallGenerator(Generator):
    """One fully-connected layer and two transposed convolutions, without normalisation.

    Shapes: as of `VanillaGenerator`.

    Args:
        channels: 1 for grey, 3 for RGB.
        width: feature maps before the last layer; the first have twice as many.
        latent: length of the latent vector.
    """

    consumes = "latent"
    size = SizeRule(fixed=(SIDE, SIDE))

    def __init__(self, *, channels: Literal[1, 3] = 1, width: Annotated[int, Gt(0)] = 32, latent: Annotated[int, Gt(0)] = 100) -> None:
        super().__init__()
        self.channels, self.latent = channels, latent
        self.layers = nn.Sequential(
            nn.Linear(latent, 2 * width * (SIDE // 4) ** 2),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (2 * width, SIDE // 4, SIDE // 4)),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """One picture from each latent vector; `given` is not used."""
        return as_image(self.layers(x))


class SmallCritic(Critic):
    """Two strided convolutions and one fully-connected layer.

    Shapes: as of `VanillaCritic`.

    Args:
        channels: 1 for grey, 3 for RGB.
        width: feature maps of the first layer; the second has twice as many.
    """

    def __init__(self, *, channels: Literal[1, 3] = 1, width: Annotated[int, Gt(0)] = 32) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Flatten(),
            nn.Linear(2 * width * (SIDE // 4) ** 2, 1),
        )

    def forward(self, image: Tensor | tuple[Tensor, ...], given: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of pictures; `given` is not used.

        Raises:
            UserError: pictures of another size.
        """
        return (self.layers(wanted_size(image, SIDE, "dcgan/small"))[:, :, None, None],)
