"""A driver library of our own, compiled by the tests, that misbehaves on command."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("stand_in.c")
LIBRARY = "libnvidia-ml.so.1"

_FLAGS = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread")


class StandIn:
    """The compiled library and the control file it reads at every call.

    Args:
        folder: where both go.
        installed: whether the library is there from the beginning.
    """

    def __init__(self, folder: Path, *, installed: bool = True) -> None:
        self.library = folder / LIBRARY
        self.control = folder / "control.txt"
        self.log = folder / "calls.txt"
        self.control.write_text("")
        if installed:
            self.install()

    def install(self) -> None:
        """Put the library where it is looked for."""
        beside = self.library.with_suffix(".new")
        shutil.copyfile(_compiled(), beside)
        beside.replace(self.library)

    def behave(self, *lines: str) -> None:
        """From the next call on, do what these control lines say, and nothing that earlier ones said."""
        replacement = self.control.with_suffix(".new")
        replacement.write_text("".join(f"{line}\n" for line in lines))
        # A library that reads in this moment sees the old lines or the new ones, never half.
        replacement.replace(self.control)

    @property
    def logging(self) -> str:
        """The control line that has calls noted for `calls`."""
        return f"log {self.log}"

    def calls(self, gpu: int | None = None) -> Counter[str]:
        """How often each call was made, of those that were noted; about one GPU, or all."""
        noted = self.log.read_text().splitlines() if self.log.exists() else []
        pairs = [line.split() for line in noted]
        return Counter(name for name, about in pairs if gpu is None or about == str(gpu))

    def forget_calls(self) -> None:
        """Note calls from here on."""
        self.log.unlink(missing_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use this library as its NVIDIA driver."""
        return {"LD_LIBRARY_PATH": str(self.library.parent), "PYLON_NVML_STAND_IN": str(self.control)}


def _compiled() -> Path:
    """The library, compiled once for each state of its source."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        reason = "no C compiler (cc or gcc) to make the NVML stand-in"
        if os.environ.get("PYLON_REQUIRE_C_COMPILER"):
            pytest.fail(reason)
        pytest.skip(reason)
    state = hashlib.sha256(SOURCE.read_bytes() + " ".join((compiler, *_FLAGS)).encode()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"pylon-nvml-stand-in-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    library = cache / f"{state}.so"
    if not library.exists():
        # Tests of several processes may do this at the same time: each makes its own, the last one stays.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / library.name
            command = [compiler, *_FLAGS, "-o", str(made), str(SOURCE)]
            subprocess.run(command, check=True, timeout=60)
            made.replace(library)
    return library
