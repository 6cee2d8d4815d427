"""Configurations: shared recipes in common/, one file per run in benchmarks/."""
