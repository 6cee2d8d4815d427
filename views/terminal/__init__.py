"""What `pylon watch` shows on a whole terminal."""
