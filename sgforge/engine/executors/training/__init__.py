"""Trainings behind the door: their crew, the processes of each, and the figures that they tell."""
