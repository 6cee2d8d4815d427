"""What `pylon serve` shows in a browser."""
