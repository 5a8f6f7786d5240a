"""The engine: resolves a pipeline into a plan and runs it, item steps as a stream, training and evaluation as barriers.

`planning` resolves and checks, `forecast` looks ahead, `launch` starts a run and `session` does it: `sources`, then
`items`, the groups of item steps, and `barriers`, trainings and evaluations. They share a `context` with the run's
`models`; `reporting` tells what happens, and `process` keeps signals and the pace of the garbage collector.
"""
