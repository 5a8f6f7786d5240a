"""Student `vlm`: any image-text-to-text model of transformers that says scene graphs as JSON."""
