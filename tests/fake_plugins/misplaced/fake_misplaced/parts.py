"""Parts that a GPU would refuse, or on which they would do something else."""

import torch

from restorekit.interfaces import Loss, Metric, Restorer


class KeepsATensor(Loss):
    """It is no buffer, so it stays where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.tensor([0.5, 1.0, 0.5]).view(3, 1, 1)

    def forward(self, restored, target, degraded):
        return (self.weights * (restored - target).abs()).mean()


class MakesATensor(Loss):
    def forward(self, restored, target, degraded):
        return ((restored - target).abs() * torch.linspace(0.5, 1, restored.shape[-1])).mean()


class ComputesInNumpy(Loss):
    def forward(self, restored, target, degraded):
        largest = float(target.detach().numpy().max())
        return (restored - target).abs().mean() * max(largest, 0.1)


class DependsOnTheDevice(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean() * (1.0 if restored.device.type == "cpu" else 1.1)


class ReturnsToTheProcessor(Metric):
    higher_is_better = False
    unit = ""
    bounds = (0.0, 1.0)

    def forward(self, restored, target=None):
        return (restored - target).abs().mean((1, 2, 3)).cpu()


class DrawsThere(Restorer):
    """With a seed of its own, but by the generator of the device."""

    def restore(self, degraded):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return (degraded.image + 0.1 * torch.rand_like(degraded.image)).clamp(0, 1)


class DrawsHere(Restorer):
    def restore(self, degraded):
        noise = torch.rand(degraded.image.shape, device=degraded.image.device, generator=torch.Generator().manual_seed(0))
        return (degraded.image + 0.1 * noise).clamp(0, 1)
