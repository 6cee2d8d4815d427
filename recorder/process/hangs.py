"""What is kept of a hang: a mark, the stacks of every thread, and PyTorch's own dump of NCCL."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pylon.recorder.channel import Writer
from pylon.recorder.endings import Hang
from pylon.recorder.process.stacks import PySpy, StackFile

# PyTorch's name for its dumps of NCCL's calls, and where they are unless this names another place.
_NCCL_VARIABLE = "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"
_NCCL_PLACE = "/tmp/nccl_trace_rank_"
_MOST_DUMPS = 64
_MOST_DUMP_BYTES = 64 * 2**20
_TAKE_AFTER_S = 0.1
_AGAIN_AFTER_S = 600.0
_LONGEST_MARK = 12_000

_Mark = tuple[str, dict[str, Any]]


class HangWatch:
    """Follows whether the launch hangs.

    Args:
        directory: where stacks and dumps are kept.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[int, StackFile] = {}
        self._hangs = False
        self._asked_s: float | None = None
        self._waiting = False
        self._spy: PySpy | None = None

    def look(self, hang: Hang | None, writers: list[Writer], now_s: float) -> Iterator[_Mark]:
        """What is to be marked now."""
        self._open(writers)
        if hang is not None and not self._hangs:
            yield "hang", {"for_s": round(hang.for_s, 1), "limit_s": hang.limit_s, "step_s": hang.step_s}
            self._collect_dumps()
        elif hang is None and self._hangs:
            yield "hang", {"ended": True}
            self._asked_s = None
        self._hangs = hang is not None
        if hang is not None and (self._asked_s is None or now_s - self._asked_s > _AGAIN_AFTER_S):
            self._asked_s = now_s
            self._waiting = sum(one.ask() for one in self._files.values()) > 0
            if not self._waiting and writers:
                self._spy = PySpy.of(writers[0].pid)
        elif self._waiting and self._asked_s is not None and now_s - self._asked_s > _TAKE_AFTER_S:
            self._waiting = False
            texts = {slot: one.new_text() for slot, one in self._files.items()}
            yield from self._kept(
                [(self._files[slot].writer.pid, text) for slot, text in sorted(texts.items()) if text]
            )
        elif self._spy is not None and (text := self._spy.text()) is not None:
            yield from self._kept([(self._spy.pid, text)] if text else [])
            self._spy = None

    def crash(self) -> str | None:
        """What the crash handler of the first writer has left."""
        first = self._files.get(0)
        text = "" if first is None else first.new_text()
        return text[-_LONGEST_MARK:] or None

    def _open(self, writers: list[Writer]) -> None:
        """Open the stacks of each writer that offers some, while it runs."""
        for one in writers:
            known = self._files.get(one.slot)
            if (known is not None and known.writer[:2] != one[:2]) or (
                known is not None and not one.stack_signal
            ):
                known.close()
                del self._files[one.slot]
                known = None
            if known is None and one.stack_signal:
                with contextlib.suppress(OSError):
                    self._files[one.slot] = StackFile(one)

    def _kept(self, stacks: list[tuple[int, str]]) -> Iterator[_Mark]:
        shown = [f"process {pid}:\n{text}" for pid, text in stacks]
        if not shown:
            return
        path = self._directory / "stacks.txt"
        try:
            with open(path, "a", encoding="utf-8", opener=_no_link) as file:
                file.write("\n".join(shown) + "\n")
        except OSError:
            path = None  # type: ignore[assignment]  # the mark has them
        yield "stack", {"text": "\n".join(shown)[:_LONGEST_MARK], "file": None if path is None else path.name}

    def _collect_dumps(self) -> None:
        """Copy PyTorch's dumps next to the record. They are written when a collective has timed out."""
        place = Path(os.environ.get(_NCCL_VARIABLE) or _NCCL_PLACE)
        try:
            found = sorted(place.parent.glob(f"{place.name}*"))[:_MOST_DUMPS]
        except OSError:
            return
        for one in found:
            with contextlib.suppress(OSError):
                if (
                    one.is_file()
                    and one.stat().st_uid == os.geteuid()
                    and one.stat().st_size < _MOST_DUMP_BYTES
                ):
                    folder = self._directory / "nccl_dumps"
                    folder.mkdir(exist_ok=True)
                    shutil.copyfile(one, folder / one.name)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
