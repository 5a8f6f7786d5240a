"""Answers as they are read, completions and graphs, one or many at once: typed things, and what could not be read."""
