"""`python -m monitor`."""

import sys

from pylon.monitor.cli import main

if __name__ == "__main__":
    sys.exit(main())
