"""What live views cost. `python -m benchmarks.views [--parts metrics]`: each part is a module with `rows`."""
