"""Looks for something on the network when it is imported."""

import time

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

time.sleep(2)


@hookimpl
def restorekit_parts():
    yield Part("loss", "l1", "restorekit.builtin.losses:L1", summary="L1", paper="textbook", licence="MIT")
