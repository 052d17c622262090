"""Each of its modules changes something of the whole process when it is imported."""
