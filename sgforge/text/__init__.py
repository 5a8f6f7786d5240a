"""Texts for people: near names, untrusted text made safe, whose line raised."""
