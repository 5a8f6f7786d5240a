"""Charts of an evaluation, as SVG or PNG."""
