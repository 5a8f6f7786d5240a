"""Open Images: boxes and visual relationships in CSV."""
