"""Generated data in AirChange's layout."""
