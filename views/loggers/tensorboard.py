"""TensorBoard: event files in the run's directory, or in another folder."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pylon.views.loggers.contract import End, Logger, Picture, Run, Scalars

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


class TensorBoardLogger(Logger):
    """Writes event files.

    Each process begins a file, and cuts off what an earlier one has written after its last `flush`: those
    entries come again.

    Args:
        folder: where; None: `tensorboard` in the run's directory.
    """

    LIBRARY = "tensorboardX"
    EXTRA = "tensorboard"

    def __init__(self, folder: str | None = None) -> None:
        self._given = folder
        self._folder = Path()
        self._writer: Any = None

    def open(self, run: Run, kept: Mapping[str, Any]) -> None:
        """See Logger."""
        with _without_torch():
            from tensorboardX import summary
            from tensorboardX.event_file_writer import EventsWriter

        self._folder = Path(self._given).expanduser() if self._given else run.folder / "tensorboard"
        self._folder.mkdir(parents=True, exist_ok=True)
        if kept and (last := self._folder / kept["file"]).is_file() and last.stat().st_size > kept["bytes"]:
            os.truncate(last, kept["bytes"])
        # Two processes may begin in the same second.
        suffix = f".{os.getpid()}.{secrets.token_hex(4)}"
        self._writer = EventsWriter(str(self._folder / "events"), suffix)
        (file,) = self._folder.glob(f"*{suffix}")
        self._file = file
        if not kept:
            texts = {"run": run.about, "configuration": run.configuration}
            for name, content in texts.items():
                if content:
                    lines = json.dumps(dict(content), indent=2).splitlines()
                    text = "\n".join(f"    {line}" for line in lines)  # a block of code in Markdown
                    self._write(0, 0.0, summary.text(name, text).value)

    def scalars(self, entry: Scalars) -> None:
        """See Logger."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in entry.values.items()]
        self._write(entry.step, entry.t, values)

    def picture(self, entry: Picture) -> None:
        """See Logger."""
        from tensorboardX.proto.summary_pb2 import Summary

        content = Path(entry.path).read_bytes()
        image = Summary.Image(
            width=int.from_bytes(content[16:20]),
            height=int.from_bytes(content[20:24]),
            colorspace=_PNG_CHANNELS.get(content[25], 3),
            encoded_image_string=content,
        )
        self._write(entry.step, entry.t, [Summary.Value(tag=entry.name, image=image)])

    def end(self, entry: End) -> None:
        """See Logger."""
        from tensorboardX import summary

        self._write(entry.step, entry.t, summary.text("end", f"{entry.state}: {entry.cause}").value)

    def flush(self) -> dict[str, Any]:
        """See Logger."""
        self._writer.flush()
        return {"file": self._file.name, "bytes": self._file.stat().st_size}

    def close(self) -> dict[str, Any]:
        """See Logger."""
        kept = self.flush()
        self._writer.close()
        return kept

    def _write(self, step: int, t: float, values: Any) -> None:  # noqa: ANN401 - of the library
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        self._writer.write_event(Event(wall_time=t, step=step, summary=Summary(value=values)))


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Let an import in the block not load torch: 200 MB and a second for what is not used here."""
    modules: dict[str, Any] = cast("dict[str, Any]", sys.modules)
    if "torch" in modules:
        yield
        return
    modules["torch"] = None  # an import of it fails, which tensorboardX allows for
    try:
        yield
    finally:
        del modules["torch"]
