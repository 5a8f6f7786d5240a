"""The engine: resolves a pipeline into a plan and runs it, item steps as a stream, training and evaluation as barriers.

`events`, `steps` and `report` are values; `plan` resolves, `forecast` and `costs` look ahead, `launch` starts a run and
`session` does it: `sources`, then `groups` of item steps (`reuse`, `recall`, `stream`, `executors`, `committer`) and
barriers (`barriers`, `training` with `child`, `evaluation`).
"""
