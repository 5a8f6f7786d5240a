"""The engine: resolves a pipeline into a plan and runs it, item steps as a stream, training and evaluation as barriers.

`events`, `steps` and `report` are values; `plan` says what a run would do; `run` does it.
"""
