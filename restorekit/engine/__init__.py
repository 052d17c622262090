"""Training: small enough to read, resumable, deterministic."""

from restorekit.engine.loop import train
from restorekit.engine.rehearsal import rehearse

__all__ = ["rehearse", "train"]
