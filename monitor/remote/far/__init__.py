"""A server read over a byte stream by a POSIX shell: its script, its answers, and their meaning.

requests   what is sent: FAR_COMMAND, far_script(), encode_request(), HEARTBEAT
frames     what is received: FrameDecoder().feed(bytes) gives whole frames, take_rejections() the rest
statuses   what it means: RemoteStatuses(window_size).build(frame, received_monotonic_s)
"""

from pylon.monitor.remote.far.frames import Frame, FrameDecoder, FrameProblem, Rejection
from pylon.monitor.remote.far.requests import FAR_COMMAND, HEARTBEAT, Tier, encode_request, far_script
from pylon.monitor.remote.far.statuses import RemoteStatuses

__all__ = [
    "FAR_COMMAND",
    "HEARTBEAT",
    "Frame",
    "FrameDecoder",
    "FrameProblem",
    "Rejection",
    "RemoteStatuses",
    "Tier",
    "encode_request",
    "far_script",
]
