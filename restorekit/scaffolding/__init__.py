"""A new plugin, complete: one working part of any kind, its tests, its manifest and everything around them."""

from restorekit.scaffolding.kinds import SKETCHES
from restorekit.scaffolding.writing import new_plugin

__all__ = ["SKETCHES", "new_plugin"]
