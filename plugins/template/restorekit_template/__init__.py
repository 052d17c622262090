"""The smallest complete plugin for restorekit."""
