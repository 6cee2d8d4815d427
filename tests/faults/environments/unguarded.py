"""A training script without an import guard: whoever imports it runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.faults.environments.common import newer, ready, say, watch

say("ran", name=__name__)
with_monitor = watch(gpu=True)
ready(with_monitor)
newer(with_monitor)
sys.stdout.write("trained\n")
if sys.argv[1] == "stopped":
    with_monitor.stop()
