"""Servers and runs as they are now and were lately."""
