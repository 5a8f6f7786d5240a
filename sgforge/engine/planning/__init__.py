"""From a pipeline to a plan: steps resolved, needs checked, keys of answers."""
