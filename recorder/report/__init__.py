"""What a reader sees of one record or of many."""
