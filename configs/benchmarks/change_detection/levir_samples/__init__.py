"""Eleven pairs of LEVIR-CD."""
