"""The command `sgforge eval`."""
