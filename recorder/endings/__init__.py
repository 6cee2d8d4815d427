"""What is known of a death: state, cause, certainty.

status      the exit status of a process of which one is not the parent
memory      what the kernel counts when memory runs out
seen        all that is known, and what follows from it, as records
kills, exceptions, judging     the rules, without looking at anything
advice      what to do
former      a launch whose recorder has ended too
"""

from pylon.recorder.endings.advice import advice
from pylon.recorder.endings.exceptions import cause_of, traceback_in, words_of
from pylon.recorder.endings.former import Here, boot_id, ending_by_reader, runs_here
from pylon.recorder.endings.judging import judge
from pylon.recorder.endings.memory import Level, MemoryCounter, MemoryCounts, killed_in_log
from pylon.recorder.endings.seen import Evidence, Hang, Judgement, Seen, StopRequest
from pylon.recorder.endings.status import ExitStatus, exit_status

__all__ = [
    "Evidence",
    "ExitStatus",
    "Hang",
    "Here",
    "Judgement",
    "Level",
    "MemoryCounter",
    "MemoryCounts",
    "Seen",
    "StopRequest",
    "advice",
    "boot_id",
    "cause_of",
    "ending_by_reader",
    "exit_status",
    "judge",
    "killed_in_log",
    "runs_here",
    "traceback_in",
    "words_of",
]
