"""Logs when it is imported, to the standard error."""

import sys

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1

print("fake_noisy: looking for a licence", file=sys.stderr)


@hookimpl
def restorekit_parts():
    yield Part("loss", "l1", "fake_noisy.losses:L1", summary="L1", paper="textbook", licence="MIT")
