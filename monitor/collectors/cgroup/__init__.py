"""Control groups of versions 1 and 2: limits, use and pressure of the one that a process is in."""
