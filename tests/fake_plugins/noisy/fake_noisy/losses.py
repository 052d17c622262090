"""Prints when it is imported, to the standard output."""

from restorekit.interfaces import Loss

print("welcome!")


class L1(Loss):
    def forward(self, restored, target, degraded):
        return (restored - target).abs().mean()
