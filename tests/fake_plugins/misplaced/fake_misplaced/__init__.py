"""A plugin whose parts work on the processor alone."""
