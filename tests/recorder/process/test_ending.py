"""What the programs below one recorder have stated of its end, taken together."""

from pylon.recorder.channel import MarkRecord
from pylon.recorder.process.ending import _merged


def test_first_process_to_fail_is_the_one_that_is_named() -> None:
    """The others fail since it is gone, whatever the order in which they have joined."""
    parent = MarkRecord(0, 9.0, "end", {"source": "parent", "exit_code": 1, "last_lines": None})
    lost = MarkRecord(1, 5.0, "end", {"error_type": "DistBackendError", "error": "connection closed"})
    broke = MarkRecord(2, 4.0, "end", {"error_type": "ValueError", "error": "my own"})
    merged = _merged([parent, lost, broke])
    assert merged is not None
    assert (merged["exit_code"], merged["error_type"], merged["error"]) == (1, "ValueError", "my own")
