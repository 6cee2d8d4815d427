"""What is known of the end of a run: its state, its cause, and how certain they are."""
