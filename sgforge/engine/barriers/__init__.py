"""Training and evaluation: steps that wait for a published snapshot."""
