"""Feature networks with one fault each."""

from typing import Literal

import torch
from torch import nn

from restorekit import UserError
from restorekit.interfaces import Features


class Sound(Features):
    layers = ("shallow", "deep")

    def __init__(self, *, weights: Literal["random"], seed: int = 0) -> None:
        super().__init__()
        self.weights, self.seed = weights, seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.fill()
        self.requires_grad_(False)

    def fill(self) -> None:
        self.shallow = nn.Conv2d(3, 4, 3)
        self.deep = nn.Conv2d(4, 4, 3)

    def forward(self, image, layers):
        for name in layers:
            if name not in self.layers:
                raise UserError(f"no layer {name}; there are {', '.join(self.layers)}")
        shallow = self.shallow(image - 0.5)
        found = {"shallow": shallow, "deep": self.deep(shallow.relu())}
        return {name: found[name] for name in layers}


class NoLayers(Sound):
    layers = ()


class NoSeed(Sound):
    def __init__(self, *, weights: Literal["random"]) -> None:
        super().__init__(weights=weights)
        del self.seed


class TooMany(Sound):
    def forward(self, image, layers):
        return super().forward(image, self.layers)


class Rectified(Sound):
    def forward(self, image, layers):
        found = super().forward(image, layers)
        if "deep" in found:
            found["shallow"].relu_()
        return found


class KeyFault(Sound):
    def forward(self, image, layers):
        return super().forward(image, [{"shallow": "shallow", "deep": "deep"}[name] for name in layers])


class Trainable(Sound):
    def __init__(self, *, weights: Literal["random"], seed: int = 0) -> None:
        super().__init__(weights=weights, seed=seed)
        self.requires_grad_(True)


class BatchNorm(Sound):
    def fill(self) -> None:
        super().fill()
        self.deep = nn.Sequential(self.deep, nn.BatchNorm2d(4))


class NoGrad(Sound):
    @torch.no_grad()
    def forward(self, image, layers):
        return super().forward(image, layers)


class Unseeded(Sound):
    def __init__(self, *, weights: Literal["random"], seed: int = 0) -> None:
        state = torch.get_rng_state()
        super().__init__(weights=weights, seed=seed)
        for parameter in self.parameters():
            parameter.add_(torch.randn_like(parameter))
        torch.set_rng_state(state)


class SeedsGlobally(Sound):
    def __init__(self, *, weights: Literal["random"], seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(weights=weights, seed=seed)


class OneSeed(Sound):
    def __init__(self, *, weights: Literal["random"], seed: int = 0) -> None:
        super().__init__(weights=weights, seed=0)
        self.seed = seed


class ClampsInPlace(Sound):
    def forward(self, image, layers):
        with torch.no_grad():
            image.clamp_(0.1, 0.9)
        return super().forward(image, layers)


class NormalisesInPlace(Sound):
    def forward(self, image, layers):
        return super().forward(image if image.requires_grad else image.sub_(0.5), layers)
