"""Several runs next to each other: what differs, their curves, their hardware."""
