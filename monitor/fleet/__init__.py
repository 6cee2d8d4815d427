"""Many servers: the file that lists them, and the free GPUs on them."""
