"""Refiners over any policy: answers drawn in groups, scored, learnt from; whole states on disk; one rank or N."""
