"""Configurations: shared recipes in common/, one file per run in benchmarks/, files to copy in examples/."""
