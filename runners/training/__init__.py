"""Training and evaluation: the loops, their steps, and the runners that are built on them."""
