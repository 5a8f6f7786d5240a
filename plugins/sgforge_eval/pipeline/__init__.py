"""The evaluators of a pipeline, and how they read what a student ranked."""
