"""What held a run back: ordered rules over its steps and samples.

figures    what a stretch of a run comes to
rules      each with its thresholds and where they come from
judging    the verdict, live and from a record
"""

from pylon.recorder.verdict.figures import Facts, Stretch
from pylon.recorder.verdict.judging import NONE_FOUND, NOT_ENOUGH, LiveVerdict, Verdict, judge, of_history
from pylon.recorder.verdict.rules import RULES, Finding, Level

__all__ = [
    "NONE_FOUND",
    "NOT_ENOUGH",
    "RULES",
    "Facts",
    "Finding",
    "Level",
    "LiveVerdict",
    "Stretch",
    "Verdict",
    "judge",
    "of_history",
]
