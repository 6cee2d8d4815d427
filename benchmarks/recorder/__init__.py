"""What recording costs.

    python -m benchmarks.recorder.history [--figures 100] [--hours 24] [--quick]

history   the file of a record: what a tick and a reading cost, early in a run and late
"""
