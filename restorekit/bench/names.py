"""Names that both what runs and what reports know; light, because reports do without torch."""

BASELINE = "core/identity"
"""The method that does nothing: what the others are compared with."""
