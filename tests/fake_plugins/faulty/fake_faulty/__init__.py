"""A plugin whose every part has one fault."""
