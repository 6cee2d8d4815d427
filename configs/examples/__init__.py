"""Configurations to learn from and to copy."""
