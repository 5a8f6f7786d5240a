"""Judges of pictures, the reward made of their answers, and the audit of real graphs by the same questions."""
