"""Processes of this machine: the run's tree, its memory, and the busiest ones."""
