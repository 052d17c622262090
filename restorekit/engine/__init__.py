"""Training: small enough to read, resumable, deterministic."""

from restorekit.engine.loop import train

__all__ = ["train"]
