"""PylonTracker in accelerate's Accelerator."""

import time

import pytest

from tests.recorder.callbacks.conftest import Recorded
from tests.recorder.callbacks.required import require

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_what_is_logged_is_recorded(recorded: Recorded) -> None:
    accelerate = require("accelerate")
    from pylon.recorder.callbacks.accelerate import PylonTracker

    accelerator = accelerate.Accelerator(cpu=True, log_with=PylonTracker())
    accelerator.init_trackers("mine", config={"lr": 0.1})
    watch = accelerator.get_tracker("pylon", unwrap=True)
    for step in range(10, 50, 10):
        time.sleep(0.02)
        accelerator.log({"loss": 1.0 / step, "accuracy": 0.5}, step=step)
    watch.mark("validation_begin")
    watch.mark("validation_end")
    accelerator.end_training()
    read = recorded.read()
    assert [(one.number, one.loss) for one in read.steps] == [(n, 1.0 / n) for n in range(10, 50, 10)]
    # Ten steps each; what came before the first log is not known.
    assert [one.seconds is None for one in read.steps] == [True, False, False, False]
    assert all(one.seconds is None or 0.002 <= one.seconds < 0.02 for one in read.steps)
    kinds = recorded.kinds()
    assert kinds == ["joined", "configuration", *["score"] * 4, "validation_begin", "validation_end", "left"]
    assert read.marks[2].detail == {"name": "accuracy", "value": 0.5, "step": 10}
