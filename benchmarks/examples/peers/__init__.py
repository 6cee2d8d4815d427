"""The tasks of the examples with other trainers: `python -m benchmarks.examples.peers.NAME FOLDER`.

Datasets and models are those of the examples.
"""
