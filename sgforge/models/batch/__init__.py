"""Batch endpoints: requests written to a spool, submitted, collected into the cache."""
