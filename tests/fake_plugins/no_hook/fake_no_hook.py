"""Its function is not marked as a hook."""

RESTOREKIT_INTERFACE = 1


def restorekit_parts():
    return []
