"""Its generator was called ``old``."""

from restorekit.hooks import Part, hookimpl

RESTOREKIT_INTERFACE = 1


@hookimpl
def restorekit_parts():
    yield Part("generator", "new", "fake_renamed.generators:Tiny", summary="tiny", paper="textbook", licence="MIT", renamed_from="old")
