"""Links for tests of readings: scripted ones, and a real far shell without SSH."""

import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable

from pylon.monitor.remote.far import FAR_COMMAND
from pylon.monitor.ssh import ConnectionClosedError


def frame(
    sequence: int, uptime_s: float = 100.0, body: str = "@loadavg 1\n0.50 0.40 0.30 1/100 4242\n"
) -> bytes:
    """An answer as the far shell gives it."""
    head = f"%PYLON 1 {sequence} {len(body.encode())} 1 {uptime_s + sequence:.2f} - -\n"
    return f"{head}{body}%END {sequence}\n".encode()


class ScriptedLink:
    """Answers each request by what `answer` makes of its sequence number; None: not at all.

    Attributes:
        sent: all that was sent to it.
        closed: whether it was closed.
        later: what to hand out before anything else.
    """

    host_key = "SHA256:scripted"
    last_words = ""

    def __init__(self, answer: Callable[[int], bytes | None] = frame) -> None:
        self.answer = answer
        self.sent: list[bytes] = []
        self.closed = False
        self.later: deque[bytes] = deque()
        self._arrived = threading.Condition()

    def send(self, data: bytes, timeout_s: float) -> None:
        self._check()
        self.sent.append(data)
        for line in data.splitlines():
            if line.startswith(b"T "):
                answer = self.answer(int(line.split()[1]))
                if answer is not None:
                    self.give(answer)

    def give(self, content: bytes) -> None:
        """Have `content` arrive."""
        with self._arrived:
            self.later.append(content)
            self._arrived.notify_all()

    def receive(self, timeout_s: float) -> bytes:
        with self._arrived:
            self._arrived.wait_for(lambda: self.later or self.closed, timeout_s)
            self._check()
            return self.later.popleft() if self.later else b""

    def close(self) -> None:
        with self._arrived:
            self.closed = True
            self._arrived.notify_all()

    def _check(self) -> None:
        if self.closed:
            raise ConnectionClosedError("scripted: closed")


class ShellLink:
    """The far shell, run here, over two pipes."""

    host_key = "SHA256:shell"
    last_words = ""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", FAR_COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def send(self, data: bytes, timeout_s: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def receive(self, timeout_s: float) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        content = self.process.stdout.read(65536) if ready else b""
        if ready and not content:
            raise ConnectionClosedError("shell: ended")
        return content

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


class Dialer:
    """Gives one prepared link or error after the other; the last one again and again.

    Attributes:
        calls: when each dial was made.
        acted: whether the user has acted since the last dial.
    """

    def __init__(self, *outcomes: object, takes_s: float = 0.0) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[float] = []
        self.acted = False
        self._takes_s = takes_s

    def dial(self) -> ScriptedLink:
        self.calls.append(time.monotonic())
        time.sleep(self._takes_s)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        made: ScriptedLink = outcome() if callable(outcome) else outcome
        return made

    def user_has_acted(self, error: Exception) -> bool:
        return self.acted
