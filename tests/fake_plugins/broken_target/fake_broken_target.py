"""Loads, but the module of its part is not there."""

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts():
    yield Part("loss", "l1", "fake_module_not_there:L1", summary="L1", paper="textbook", licence="MIT")
