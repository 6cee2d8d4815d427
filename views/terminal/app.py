"""The screen in a terminal, with textual: only the lines that have changed are drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pylon.views.terminal.desk import Desk, Job
from pylon.views.terminal.drawing import screen
from pylon.views.terminal.feed import Feed
from pylon.views.terminal.layout import read_layout
from pylon.views.terminal.listing import Line
from pylon.views.terminal.past import Trail
from pylon.views.terminal.picture import Picture

_LOOK_EVERY_S = 0.25
_FRAME_S = 0.2
# The terminal's own colours: right on dark and on light ones. Each kind has a mark in its text, too.
_STYLES = {"": Style(), "head": Style(bold=True), "cursor": Style(reverse=True), "dim": Style(dim=True),
           "bad": Style(bold=True, color="red")}  # fmt: skip
_PLAIN_STYLES = _STYLES | {"bad": Style(bold=True)}


class Lines(Widget, can_focus=True):
    """Lines of cells; one that has not changed is not drawn again."""

    def __init__(self, styles: dict[str, Style]) -> None:
        super().__init__()
        self._styles = styles
        self._lines: list[Line] = []

    def show(self, lines: list[Line]) -> None:
        """Draw what has changed."""
        before, self._lines = self._lines, lines
        changed = [
            Region(0, y, self.size.width, 1)
            for y, line in enumerate(lines)
            if y >= len(before) or before[y] != line
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """A line as textual draws it."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width)
        return Strip([Segment(cell.text, self._styles[cell.kind]) for cell in self._lines[y]])


class WatchApp(App[None]):
    """The screen.

    Args:
        feed: makes the pictures; None: `take` is given them.
        ended: whether a signal has come that ends the program.
        trail: figures over time, if there is no feed.
        ascii_only: draw with ASCII.
        colour: whether to use colours.
        layout_path: where the layout is saved; None: nowhere.
        export_folder: where CSV files go.
    """

    CSS = "Screen { background: ansi_default; color: ansi_default; } Lines { width: 100%; height: 100%; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = []

    class Pictured(Message):
        """A new picture is there."""

        def __init__(self, picture: Picture) -> None:
            super().__init__()
            self.picture = picture

    class Done(Message):
        """A job in the background has ended."""

        def __init__(self, note: str) -> None:
            super().__init__()
            self.note = note

    def __init__(
        self,
        feed: Feed | None,
        ended: Callable[[], bool] = lambda: False,
        *,
        trail: Trail | None = None,
        ascii_only: bool = False,
        colour: bool = True,
        layout_path: Path | None = None,
        export_folder: Path | None = None,
    ) -> None:
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self._feed, self._ended = feed, ended
        self._styles = _STYLES if colour else _PLAIN_STYLES
        known = trail or (feed.trail if feed is not None else lambda _server, _name, _device: ([], []))
        self.desk = Desk(
            known,
            self._run_job,
            ascii_only,
            layout_path,
            export_folder if export_folder is not None else Path(),
        )
        if layout_path is not None:
            self.desk.restore(*read_layout(layout_path))

    def compose(self) -> ComposeResult:
        """One widget: all lines are its."""
        yield Lines(self._styles)

    def on_mount(self) -> None:
        """Begin to read and to look for signals."""
        self.set_interval(_LOOK_EVERY_S, self._look)
        self.set_interval(_FRAME_S, self._frame)
        if self._feed is not None:
            self._feed.start(lambda picture: self.post_message(self.Pictured(picture)))
        self.draw()

    def on_unmount(self) -> None:
        """End the reading."""
        if self._feed is not None:
            self._feed.stop()

    def take(self, picture: Picture) -> None:
        """Show a picture."""
        self.desk.take(picture)
        self.draw()

    def draw(self) -> None:
        """Draw what has changed."""
        self.desk.size = (self.size.width, self.size.height)
        for lines in self.query(Lines):
            lines.show(screen(self.desk))

    def on_watch_app_pictured(self, message: Pictured) -> None:
        """A picture has come from the feed."""
        self.take(message.picture)

    def on_watch_app_done(self, message: Done) -> None:
        """A job has ended."""
        if message.note:
            self.desk.note(message.note)
        self.draw()

    def on_resize(self, _event: events.Resize) -> None:
        """The terminal has another size."""
        self.call_after_refresh(self.draw)

    def on_key(self, event: events.Key) -> None:
        """A key was pressed."""
        event.prevent_default()
        event.stop()
        self.desk.press(event.key, event.character if event.is_printable else None)
        if self.desk.wants_end:
            self.exit()
            return
        self.draw()

    def on_paste(self, event: events.Paste) -> None:
        """A text was pasted: into the line that is typed, or nowhere."""
        if self.desk.prompt is not None:
            self.desk.prompt.insert(event.text)
            self.draw()

    def _look(self) -> None:
        if self._ended():
            self.exit()

    def _frame(self) -> None:
        if self.desk.advance(_FRAME_S):
            self.draw()

    def _run_job(self, job: Job) -> None:
        def run() -> None:
            try:
                note = job()
            except Exception as error:  # noqa: BLE001 - shown, as the screen has no other place for it
                note = f"! {type(error).__name__}: {error}"
            self.post_message(self.Done(note))

        self.run_worker(run, thread=True)
