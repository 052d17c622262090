"""A loss without fault."""

from restorekit.interfaces import Loss


class L1(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean()
