"""What other trackers get of a run, from its record."""
