"""The processes that train together on one machine: which of them records, and how the others find it."""

from pylon.recorder.node.ranks import Ranks, ranks_of
from pylon.recorder.node.siblings import announce, join_sibling

__all__ = ["Ranks", "announce", "join_sibling", "ranks_of"]
