"""From answers to the next snapshot: packed edits applied, columns written, renamed into place."""
