"""The run's gateway: providers resolved, models bound to steps, models lent to child processes."""
