"""The far script in a shell of this machine, with a pipe where the SSH channel would be."""

import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pylon.monitor.remote.far import (
    FAR_COMMAND,
    Frame,
    FrameDecoder,
    RemoteStatuses,
    Tier,
    encode_request,
    far_script,
)
from pylon.monitor.status.remote import RemoteStatus

SHELLS = ("dash", "bash", "busybox ash")
# What `exec /bin/sh` gets: -c, the loader, and its name.
_ARGUMENTS = shlex.split(FAR_COMMAND)[2:]
_PATIENCE_S = 20.0


def script_with(**constants: object) -> bytes:
    """The far script with other values of its constants."""
    text = far_script().decode()
    for name, value in constants.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{name}=")]
        assert len(lines) == 1, f"{name}: {lines}"
        text = text.replace(f"\n{lines[0]}\n", f"\n{name}={value}\n")
    return text.encode()


class FarShell:
    """One connection."""

    def __init__(
        self,
        shell: str = "dash",
        *,
        script: bytes | None = None,
        path: Path | None = None,
        environment: dict[str, str] | None = None,
        command: list[str] | None = None,
        **settings,
    ) -> None:
        words = shlex.split(shell)
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        folders = "/usr/bin:/bin" if path is None else f"{path}:/usr/bin:/bin"
        self.process = subprocess.Popen(
            command or [*words, *_ARGUMENTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": folders, "HOME": "/nonexistent"} | (environment or {}),
            **{"start_new_session": True} | settings,
        )
        self.decoder = FrameDecoder()
        self.statuses = RemoteStatuses(5)
        self.sequence = 0
        self.send(far_script() if script is None else script)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def send(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def request(self, *tiers: Tier, gpu_interval_ms: int = 0) -> None:
        self.sequence += 1
        self.send(encode_request(self.sequence, tiers, gpu_interval_ms))

    def frame(self, *tiers: Tier, gpu_interval_ms: int = 0) -> Frame:
        self.request(*tiers, gpu_interval_ms=gpu_interval_ms)
        return self.read()

    def frame_with(self, section: str, *, within_s: float = 10.0) -> Frame:
        """The first frame that has the section."""
        end_s = time.monotonic() + within_s
        while section not in (frame := self.frame()).sections:
            assert time.monotonic() < end_s, f"no section {section} within {within_s} s"
            time.sleep(0.1)
        return frame

    def read(self) -> Frame:
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.5)
            data = os.read(self.process.stdout.fileno(), 65536) if ready else None
            assert data != b"", f"ended: {self.decoder.greeting}"
            frames = self.decoder.feed(data or b"")
            assert self.decoder.take_rejections() == []
            if frames:
                assert [one.sequence for one in frames] == [self.sequence]
                return frames[0]
        raise AssertionError(f"no frame within {_PATIENCE_S} s: {self.decoder.greeting}")

    def status(self, *tiers: Tier, gpu_interval_ms: int = 0) -> RemoteStatus:
        return self.statuses.build(self.frame(*tiers, gpu_interval_ms=gpu_interval_ms), time.monotonic())

    def status_when(self, wanted, *, within_s: float = 20.0, gpu_interval_ms: int = 200) -> RemoteStatus:
        """The first status that is as wanted."""
        end_s = time.monotonic() + within_s
        while True:
            status = self.status(gpu_interval_ms=gpu_interval_ms)
            if wanted(status):
                return status
            assert time.monotonic() < end_s, status.gpu
            time.sleep(0.1)

    def processes(self) -> dict[int, str]:
        """What runs in its session: names by pid."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "stat").read_text(errors="replace")
            except OSError:
                continue
            fields = line.rpartition(")")[2].split()
            if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                found[int(folder.name)] = line[line.index("(") + 1 : line.rindex(")")]
        return found

    def wait_until_gone(self, within_s: float) -> float:
        """Seconds until nothing of it is left."""
        begun_s = time.monotonic()
        while left := self.processes():
            assert time.monotonic() - begun_s < within_s, f"still there after {within_s} s: {left}"
            time.sleep(0.05)
        return time.monotonic() - begun_s
