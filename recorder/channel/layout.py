"""Where everything is in the memory that the watched processes and the recorder share.

    header | slot 0 | slot 1 | ...        one slot per writing process, the first is the creator's
    slot:    numbers, two last words | ring of steps | ring of marks

Each number has one writer, and an aligned 8-byte store is seen whole. A record is written first and counted
afterwards, so a writer that is killed in the middle leaves what it had counted, and nothing torn.
"""

import struct
from typing import Final

MAGIC: Final = b"PYLNREC1"
SLOTS: Final = 64
HEADER_BYTES: Final = 4096

# Numbers of the header, as indices of 8-byte words. The first word is the magic.
SIZE, CREATOR_PID, CREATOR_TICKS = 1, 2, 3
BEGAN_WALL, BEGAN_MONOTONIC = 4, 5
LAUNCH, RECORDER_PID, RECORDER_TICKS, ENDED, STOP_ASKED = 6, 7, 8, 9, 10
# Why nothing can be written at present, in the header too: a length, 0 for no problem, and UTF-8.
PROBLEM_AT: Final = 1024
PROBLEM_BYTES: Final = 1024

# Numbers of a slot. The owner's pid is written last: a slot without one is free.
OWNER_PID, OWNER_TICKS, RANK = 0, 1, 2
STEPS_HEAD, STEPS_TAIL, MARKS_HEAD, MARKS_TAIL = 3, 4, 5, 6
LOST, WORDS, STACK_SIGNAL, STACK_DESCRIPTOR = 7, 8, 9, 10

# The word that counts at the end is written apart: a ring may be full when it comes.
WORD_BYTES: Final = 8192
_NUMBERS_BYTES: Final = 4096
STEPS: Final = 2048
# index + 1, kind, number, monotonic time, seconds, wait, loss, epoch
STEP: Final = struct.Struct("<QQqddddq")
HAS_STEP, HAS_WAIT, HAS_LOSS, HAS_EPOCH = 1, 2, 4, 8
MARKS_BYTES: Final = 65536
LENGTH: Final = struct.Struct("<I")

WORDS_AT: Final = _NUMBERS_BYTES
STEPS_AT: Final = WORDS_AT + 2 * WORD_BYTES
MARKS_AT: Final = STEPS_AT + STEPS * STEP.size
SLOT_BYTES: Final = MARKS_AT + MARKS_BYTES
TOTAL_BYTES: Final = HEADER_BYTES + SLOTS * SLOT_BYTES


def slot_at(number: int) -> int:
    """Where a slot begins."""
    return HEADER_BYTES + number * SLOT_BYTES
