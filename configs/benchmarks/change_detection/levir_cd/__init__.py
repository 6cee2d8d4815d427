"""LEVIR-CD."""
