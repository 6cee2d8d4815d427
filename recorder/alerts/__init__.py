"""Rules that are checked while a run is watched, and where their messages go."""
