"""The source step: reading, pictures that are missing, and sources that have not changed."""
