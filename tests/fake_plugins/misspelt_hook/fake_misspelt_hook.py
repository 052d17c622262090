"""Its hook has the wrong name."""

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_part():
    yield Part("loss", "l1", "restorekit.builtin.losses:L1", summary="L1", paper="textbook", licence="MIT")
