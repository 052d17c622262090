"""Written for an interface of long ago."""

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 0


@hookimpl
def restorekit_parts():
    yield Part("loss", "l1", "restorekit.builtin.losses:L1", summary="L1", paper="textbook", licence="MIT")
