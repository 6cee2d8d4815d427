"""What people and programs are shown: pure functions from snapshots to lines and to plain data."""
