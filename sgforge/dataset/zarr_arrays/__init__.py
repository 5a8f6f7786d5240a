"""Columns as zarr arrays: where each lies, how it is written and read."""
