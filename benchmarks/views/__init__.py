"""What live views cost: `python -m benchmarks.views [--parts NAME ...]`. Each part is a module with `rows`"""
