"""Seeds Python's random numbers."""

import random

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

random.seed(0)


@hookimpl
def restorekit_parts():
    for name in ("numpy_seed", "torch_seed", "dtype", "device", "threads"):
        yield Part("loss", name, f"fake_meddling.{name}:L1", summary="L1", paper="textbook", licence="MIT")
