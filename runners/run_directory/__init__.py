"""The run directory: checkpoints, saving, resuming, retention, and whose it is."""
