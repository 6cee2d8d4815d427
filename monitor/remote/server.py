"""One server as its reader sees it: a request out, its frame in, never longer than the time limit."""

import dataclasses
import threading
import time
from dataclasses import dataclass

from pylon.monitor.errors import MonitorError
from pylon.monitor.remote.connection import KeptConnection, Link
from pylon.monitor.remote.errors import FloodError, NoAnswerError, RejectedAnswerError
from pylon.monitor.remote.far import (
    HEARTBEAT,
    Frame,
    FrameDecoder,
    Rejection,
    RemoteStatuses,
    Tier,
    encode_request,
    far_script,
)
from pylon.monitor.status.remote import RemoteStatus

# A whole answer is some kilobytes. Who sends so much in one reading does not speak our language.
_MOST_BYTES_PER_READING = 2 * 2**20
# Readings of a silent server fail within their own limit. The connection is given up later than that: what
# is only slow answers at last, and connecting again would cost it more.
_GIVE_UP_AFTER_LIMITS = 2.0
_GIVE_UP_AFTER_S = 15.0
_FIRST_ANSWER_WITHIN_S = 30.0
# The far shell ends when it has not heard from us for a minute.
_HEARTBEAT_EVERY_S = 20.0
_SHORTEST_GPU_INTERVAL_MS = 1000
_LONGEST_GPU_INTERVAL_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a server is asked.

    Attributes:
        interval_s: between two readings.
        timeout_s: how long a reading may take.
        slow_interval_s: between requests for what is costly or changes rarely.
        gpu: whether nvidia-smi is to be run there.
    """

    interval_s: float
    timeout_s: float
    slow_interval_s: float
    gpu: bool


class RemoteServer:
    """Reads one server over its kept connection: one thread reads, another may keep it alive.

    Args:
        name: of the server.
        connection: see KeptConnection.
        rhythm: see Rhythm.
        statuses: makes statuses of its frames.
    """

    def __init__(
        self, name: str, connection: KeptConnection, rhythm: Rhythm, statuses: RemoteStatuses
    ) -> None:
        self._name = name
        self._connection = connection
        self._rhythm = rhythm
        self._statuses = statuses
        self._talk: _Talk | None = None
        self._slow_due_s = 0.0
        self._line = threading.Lock()

    def read(self) -> RemoteStatus:
        """The server's status now.

        Raises:
            RemoteError: no answer in time, or none that can be used.
            SSHError: there is no connection; the kind says why.
        """
        until_s = time.monotonic() + self._rhythm.timeout_s
        link = self._connection.link(until_s)
        with self._line:
            if self._talk is None or self._talk.link is not link:
                self._talk = _Talk(self._name, link)
                self._slow_due_s = 0.0
            return self._exchange_or_drop(self._talk, until_s)

    def keep_alive(self) -> None:
        """Send the far shell a sign of life if that is due: when readings are rare."""
        # While a reading is under way it has just heard of us.
        if self._line.acquire(blocking=False):
            try:
                if self._talk is not None:
                    self._talk.keep_alive()
            except MonitorError as error:
                if self._talk is not None:
                    self._connection.drop(self._talk.link, error)
            finally:
                self._line.release()

    def _exchange_or_drop(self, talk: "_Talk", until_s: float) -> RemoteStatus:
        try:
            return self._exchange(talk, until_s)
        except NoAnswerError as error:
            if talk.unanswered_for_s() > self._patience_s(talk):
                self._connection.drop(talk.link, error)
            raise
        except Exception as error:
            # The stream cannot be relied on any more, whatever it was.
            self._connection.drop(talk.link, error)
            raise

    def _exchange(self, talk: "_Talk", until_s: float) -> RemoteStatus:
        # An answer that is still due belongs to an earlier moment: it is taken off the line and dropped.
        talk.finish(until_s)
        now = time.monotonic()
        tiers = [Tier.FAST]
        if now >= self._slow_due_s:
            tiers += [Tier.SLOW, Tier.PROCESSES]
        sent_s = talk.ask(tiers, self._gpu_interval_ms(), until_s)
        frame, received_s = talk.answer(until_s)
        if len(tiers) > 1:
            self._slow_due_s = now + self._rhythm.slow_interval_s
        status = self._statuses.build(frame, received_s, sent_monotonic_s=sent_s)
        return dataclasses.replace(status, host_key=talk.link.host_key)

    def _patience_s(self, talk: "_Talk") -> float:
        least_s = _GIVE_UP_AFTER_S if talk.has_answered else _FIRST_ANSWER_WITHIN_S
        return max(least_s, _GIVE_UP_AFTER_LIMITS * self._rhythm.timeout_s)

    def _gpu_interval_ms(self) -> int:
        if not self._rhythm.gpu:
            return 0
        wanted = round(1000 * self._rhythm.interval_s)
        return min(max(wanted, _SHORTEST_GPU_INTERVAL_MS), _LONGEST_GPU_INTERVAL_MS)


class _Talk:
    """Requests and answers over one connection."""

    def __init__(self, name: str, link: Link) -> None:
        self.link = link
        self._name = name
        self._decoder = FrameDecoder()
        self._sequence = 0
        self._answered = 0
        self._asked_s = self._sent_s = time.monotonic()
        self._script: bytes = far_script()
        self._rejected: Rejection | None = None

    @property
    def has_answered(self) -> bool:
        """Whether it has ever answered."""
        return self._answered > 0

    def unanswered_for_s(self) -> float:
        """How long the newest request has had no answer; 0 where it has."""
        return 0.0 if self._answered == self._sequence else time.monotonic() - self._asked_s

    def finish(self, until_s: float) -> None:
        """Wait for the answer to an earlier request, if one is due, and drop it."""
        if self._answered < self._sequence:
            self.answer(until_s)

    def ask(self, tiers: list[Tier], gpu_interval_ms: int, until_s: float) -> float:
        """Send a request; when that was."""
        self._rejected = None
        request = encode_request(self._sequence + 1, tiers, gpu_interval_ms)
        self._sequence += 1
        self._decoder.asked = self._sequence
        self._asked_s = time.monotonic()
        self._send(self._script + request, until_s)
        self._script = b""
        return self._asked_s

    def keep_alive(self) -> None:
        """Send a heartbeat, where nothing else was sent for long."""
        if self._sequence and time.monotonic() - self._sent_s > _HEARTBEAT_EVERY_S:
            self._send(HEARTBEAT, time.monotonic() + 1.0)

    def answer(self, until_s: float) -> tuple[Frame, float]:
        """The answer to the newest request, and when it came. Older ones are dropped.

        Raises:
            NoAnswerError: it has not come.
            RejectedAnswerError: what came is none; the kind of a NoAnswerError too.
            FloodError: far too much came.
        """
        size = 0
        while (left_s := until_s - time.monotonic()) > 0:
            piece = self.link.receive(left_s)
            received_s = time.monotonic()
            size += len(piece)
            if size > _MOST_BYTES_PER_READING:
                raise FloodError(f"{self._name}: more than {size} bytes came in place of one answer")
            for frame in self._decoder.feed(piece):
                if frame.sequence == self._sequence:
                    self._answered = self._sequence
                    return frame, received_s
            self._rejected = next(iter(self._decoder.take_rejections()), self._rejected)
        waited_s = time.monotonic() - self._asked_s
        if self._rejected is not None:
            raise RejectedAnswerError(
                f"{self._name}: no answer that can be used for {waited_s:.1f} s:"
                f" {self._rejected.problem.value}: {self._rejected.text}"
            )
        words = [self.link.last_words]
        if self._decoder.newest is None:
            words.insert(0, self._decoder.greeting)
        printed = "".join(f"; it printed {one!r}" for one in words if one)
        raise NoAnswerError(f"{self._name}: no answer for {waited_s:.1f} s{printed}")

    def _send(self, content: bytes, until_s: float) -> None:
        self._sent_s = time.monotonic()
        self.link.send(content, max(0.001, until_s - self._sent_s))
