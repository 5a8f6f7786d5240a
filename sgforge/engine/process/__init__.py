"""The driver as a process: signals and the pace of garbage collection."""
