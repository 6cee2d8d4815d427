"""Recipes that configuration files share, one function each."""
