"""Does not say which interface it was written for."""

from restorekit.hooks import Part, hookimpl


@hookimpl
def restorekit_parts():
    yield Part("loss", "l1", "restorekit.builtin.losses:L1", summary="L1", paper="textbook", licence="MIT")
