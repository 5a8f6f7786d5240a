"""The trainer: examples from a snapshot, packed, learnt in steps that resume to the bit."""
