"""What a run tells: progress, events, counts, the report at its end."""
