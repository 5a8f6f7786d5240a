"""Answers that were paid for: the responses file, what names a request, one flight per request."""
