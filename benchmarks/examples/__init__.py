"""The shipped examples, measured: `python -m benchmarks.examples`.

What Pylon's data layer adds to a datapoint, the time from the start of a process to the end of its first
step, and the lines of code that a user writes next to dataset and model, which are the same for all.
"""
