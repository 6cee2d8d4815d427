"""Figures from the watched program to the recorder, through memory that both share, without a lock."""

from pylon.recorder.channel.channel import Channel
from pylon.recorder.channel.memory import VARIABLE, ChannelError, Memory, start_ticks
from pylon.recorder.channel.reader import ChannelReader, Collected, MarkRecord, StepRecord, Writer
from pylon.recorder.channel.sender import Sender

__all__ = [
    "VARIABLE",
    "Channel",
    "ChannelError",
    "ChannelReader",
    "Collected",
    "MarkRecord",
    "Memory",
    "Sender",
    "StepRecord",
    "Writer",
    "start_ticks",
]
