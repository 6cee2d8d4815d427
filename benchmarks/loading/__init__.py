"""How many pairs a second are loaded: `python -m benchmarks.loading`, next to usual pipelines of others."""
