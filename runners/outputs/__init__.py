"""What a run shows and leaves for people: step lines, a progress display, pictures, curves."""
