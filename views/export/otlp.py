"""The way to an OpenTelemetry collector: a process of its own, which is never waited for without a limit.

    give(picture) ── newest frame ──> thread ── pipe ──> otlp_process ── HTTP, 5 s ──> collector

A collector that is slow, wrong or gone costs frames. The process is ended, or killed, whatever it does.
"""

import contextlib
import importlib.metadata
import json
import subprocess
import sys
import threading
import time
from typing import Any, Self
from urllib.parse import urlsplit

from pylon.masking import masked_text
from pylon.monitor import MonitorSettingError
from pylon.views.export.collecting import filled
from pylon.views.export.picture import Picture

_DISTRIBUTION = "opentelemetry-exporter-otlp-proto-http"
_PATH = "/v1/metrics"
# The start of the process, and one request.
_FLUSH_S = 10.0
_TERMINATE_S = 0.5


class OTLPSender:
    """Gives pictures to the process.

    Args:
        endpoint: as `endpoint_of` returns it.
    """

    def __init__(self, endpoint: str) -> None:
        # By the pipe, not as an argument: a command line is no secret.
        self._first = json.dumps(endpoint).encode() + b"\n"
        self._changed = threading.Condition()
        self._newest: bytes | None = None
        self._is_ending = self._is_over = False
        self._process = self._started()
        self._thread = threading.Thread(target=self._write, name="otlp", daemon=True)
        self._thread.start()

    def give(self, picture: Picture) -> str:
        """Have a picture sent. If the process is busy until the next one, this one is left out.

        Returns:
            Whether the process has died; what else is wrong is printed by the process itself.
        """
        line = json.dumps(frame_of(picture)).encode() + b"\n"
        with self._changed:
            self._newest = line
            self._changed.notify()
            code = self._process.poll()
        return (
            "" if code is None else f"--otlp: the process that sends has ended ({code}): it is started again"
        )

    def end(self, *, is_done: bool) -> bool:
        """Take nothing more; wait for what was given, within a limit, unless a signal has come."""
        until_s = time.monotonic() + (_FLUSH_S if is_done else 0.0)
        self._end()
        self._thread.join(until_s - time.monotonic() if is_done else 0.0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(max(0.0, until_s - time.monotonic())) == 0
        return False

    def __enter__(self) -> Self:
        """Nothing: it is started already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, whatever it does."""
        self._end()
        with self._changed:
            self._is_over = True
            process = self._process
        process.terminate()
        try:
            process.wait(_TERMINATE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TERMINATE_S)
        # What it was writing has failed by now.
        self._thread.join(_TERMINATE_S)
        if not self._thread.is_alive():
            _close_input(process)

    def _end(self) -> None:
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    def _started(self) -> subprocess.Popen[bytes]:
        # Ctrl-C in the terminal is for us: the process ends with its input, however we end.
        return subprocess.Popen(
            [sys.executable, "-m", "pylon.views.export.otlp_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def _write(self) -> None:
        """Pass on the newest frame; a process that has died is replaced for it."""
        process, first = self._process, self._first
        while (line := self._next()) is not None:
            if process.poll() is not None:
                with self._changed:
                    if self._is_over:
                        return
                    _close_input(process)
                    self._process, first = self._started(), self._first
                    process = self._process
            with contextlib.suppress(OSError):
                _write_all(process, first + line)
                first = b""
        _close_input(process)

    def _next(self) -> bytes | None:
        """The next frame; None: there is none, and there will be none."""
        with self._changed:
            while self._newest is None and not self._is_ending:
                self._changed.wait()
            line, self._newest = self._newest, None
        return line


def _write_all(process: subprocess.Popen[bytes], text: bytes) -> None:
    left = memoryview(text)
    while process.stdin is not None and left:
        left = left[process.stdin.write(left) :]


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def frame_of(picture: Picture) -> dict[str, Any]:
    """A picture as plain values, ready for JSON."""
    families = {name: list(samples.items()) for name, samples in filled(picture)}
    return {"at": picture.at, "host": picture.host, "families": families}


def endpoint_of(text: str) -> str:
    """The address that metrics are sent to.

    Args:
        text: of a collector, with or without the path for metrics.

    Raises:
        MonitorSettingError: it is no address.
        ModuleNotFoundError: the extra is not installed.
    """
    try:
        importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(str(error), name="opentelemetry") from error
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address:
        raise MonitorSettingError(
            f"--otlp: {masked_text(text)!r}, expected an address such as http://localhost:4318."
        )
    return text.rstrip("/") + _PATH if parts.path in {"", "/"} and not parts.query else text
