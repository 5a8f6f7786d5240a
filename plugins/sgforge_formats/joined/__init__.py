"""Several annotation sets of the same images as one."""
