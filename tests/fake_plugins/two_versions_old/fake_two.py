"""Version 1.0 of a distribution that is there twice."""

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts():
    yield Part("loss", "l1", "restorekit.builtin.losses:L1", summary="L1", paper="textbook", licence="MIT")
