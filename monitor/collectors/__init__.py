"""One door each to the operating system and to the GPU driver. A collector may block, raise or die."""
