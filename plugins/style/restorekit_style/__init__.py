"""Style losses for restorekit."""
