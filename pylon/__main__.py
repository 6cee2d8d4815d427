"""`python -m pylon`."""

import sys

from pylon.command import main

# Worker processes import this module again when they start.
if __name__ == "__main__":
    sys.exit(main())
