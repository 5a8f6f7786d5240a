"""Questions about a dataset: statistics, differences, filters."""
