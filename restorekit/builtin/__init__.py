"""The core's own parts, registered through the same hook as everybody else's."""
