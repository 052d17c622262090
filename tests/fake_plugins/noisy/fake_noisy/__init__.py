"""Prints when it is imported."""
