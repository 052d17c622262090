"""Yields a tuple instead of a record."""

from restorekit.hooks import hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts():
    yield ("loss", "l1", "restorekit.builtin.losses:L1")
