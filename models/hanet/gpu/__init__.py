"""What HANet computes by kernels of its own where a GPU takes them."""
