"""Renderers: pictures of graphs, drawn or made by models."""
