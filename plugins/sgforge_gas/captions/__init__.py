"""Captions: written from graphs with a span for every element, read back and compared by an independent check."""

from __future__ import annotations

from sgforge_gas.captions.checking import Finding, check_caption
from sgforge_gas.captions.writing import ElementSpan, Style, Writer, Written

__all__ = ["ElementSpan", "Finding", "Style", "Writer", "Written", "check_caption"]
