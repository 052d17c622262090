"""A plugin one of whose parts had another name in the release before."""
