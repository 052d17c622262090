"""DCGAN for restorekit."""
