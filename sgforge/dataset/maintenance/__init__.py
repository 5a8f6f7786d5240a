"""Keeping a dataset in order: checking it, sealing what a stopped run left, removing and copying versions."""
