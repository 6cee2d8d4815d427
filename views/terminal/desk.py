"""Everything of the screen but the terminal: what is shown, as lines, and what each key does."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylon.recorder.report.units import clock_text
from pylon.views.terminal.csv_export import write_csv
from pylon.views.terminal.filters import FilterError
from pylon.views.terminal.keys import ACTION_OF
from pylon.views.terminal.layout import apply_layout, save_layout
from pylon.views.terminal.listing import Listing
from pylon.views.terminal.opening import page_of
from pylon.views.terminal.page import Page
from pylon.views.terminal.panes import listings, rows_of
from pylon.views.terminal.past import Trail
from pylon.views.terminal.picture import Picture
from pylon.views.terminal.prompt import Prompt
from pylon.views.terminal.replay import TimeError

_NOTE_S = 10.0
_HIGH, _MOST_BELOW = 40, 6
# Does something in the background; what it returns is a note, or ''.
Job = Callable[[], str]


@dataclass
class Desk:
    """The screen without a terminal.

    Args:
        trail: figures of servers over time, as Feed has them.
        run: does a job in the background.
        ascii_only: draw with ASCII.
        layout_path: where `w` saves; None: nowhere.
        export_folder: where `e` writes.
    """

    trail: Trail
    run: Callable[[Job], None]
    ascii_only: bool = False
    layout_path: Path | None = None
    export_folder: Path = field(default_factory=Path)
    listings: dict[str, Listing] = field(default_factory=listings)
    picture: Picture = field(default_factory=lambda: Picture(at=0.0))
    pane: int = 0
    page: Page | None = None
    prompt: Prompt | None = None
    choosing: int | None = None
    help: bool = False
    paused: bool = False
    tree: bool = True
    wants_end: bool = False
    size: tuple[int, int] = (80, 24)
    _filters: list[str] = field(default_factory=list)
    _note: tuple[float, str] = (0.0, "")
    _reading: bool = False

    @property
    def listing(self) -> Listing:
        """The list that is shown."""
        return list(self.listings.values())[self.pane]

    @property
    def height(self) -> int:
        """Lines of rows: what is left below the head, and above the foot."""
        return max(1, self.size[1] - 4 - sum(self.below.values()))

    @property
    def below(self) -> dict[str, int]:
        """The lists that are shown below, and how many lines each has: on a high screen, next to machines."""
        if self.size[1] < _HIGH or self.pane > 2:
            return {}
        return {
            name: 1 + min(_MOST_BELOW, len(self.listings[name].rows))
            for name in ("runs", "alerts")
            if self.listings[name].rows
        }

    def restore(self, saved: dict[str, Any], note: str) -> None:
        """Take a layout of an earlier session."""
        notes = apply_layout(saved, self.listings)
        if isinstance(saved.get("pane"), int):
            self.pane = min(len(self.listings) - 1, max(0, saved["pane"]))
        if found := "; ".join([note, *notes] if note else notes):
            self.note(found)

    def note(self, text: str) -> None:
        """Show a line for some seconds."""
        self._note = (time.monotonic() + _NOTE_S, text)

    def note_now(self) -> str:
        """The line that `note` shows; '' once its time is over."""
        until, text = self._note
        return text if time.monotonic() < until else ""

    def take(self, picture: Picture) -> None:
        """Show a new picture, unless this one is paused."""
        if picture.problem:
            self.note(f"! the figures are those of {clock_text(self.picture.at)}: {picture.problem}")
            return
        if not self.paused:
            self.picture = picture
            self._update()
        self._read_page()

    def _update(self) -> None:
        rows = rows_of(self.picture, tree=self.tree)
        for name, listing in self.listings.items():
            listing.update(rows[name])
            listing.scroll(self.height)

    def _read_page(self) -> None:
        page = self.page
        if page is None or self._reading or not page.is_due():
            return
        if not page.slow:
            page.refresh()
            return
        self._reading = True

        def job() -> str:
            try:
                page.refresh()
            finally:
                self._reading = False
            return ""

        self.run(job)

    def advance(self, seconds: float) -> bool:
        """So much time has passed; whether something is to be drawn for that."""
        if self.page is None or not self.page.replay.speed:
            return False
        self.page.replay.advance(seconds)
        self._read_page()
        return True

    def press(self, key: str, character: str | None = None) -> None:
        """Do what a key does."""
        if self.prompt is not None:
            if self.prompt.press(key, character):
                self.prompt = None
            return
        action = ACTION_OF.get(key, "")
        if action == "quit":
            self.wants_end = True
        elif self.help:
            self.help = False
        elif self.choosing is not None:
            self._choose(action)
        elif action == "help":
            self.help = True
        elif self.page is not None:
            self._on_page(self.page, action)
        else:
            self._on_list(action)

    def _on_list(self, action: str) -> None:
        listing, height = self.listing, self.height
        moves = {"up": listing.cursor - 1, "down": listing.cursor + 1, "page_up": listing.cursor - height,
                 "page_down": listing.cursor + height, "first": 0, "last": len(listing.rows)}  # fmt: skip
        if action in moves:
            listing.move(moves[action], height)
        elif action in {"left", "right"}:
            listing.shift = max(
                0, min(len(listing.columns) - 3, listing.shift + (1 if action == "right" else -1))
            )
        elif action in {"next_pane", "former_pane"}:
            self.pane = (self.pane + (1 if action == "next_pane" else -1)) % len(self.listings)
        elif action.startswith("pane_") or action in {"alerts"}:
            self.pane = 4 if action == "alerts" else int(action[-1]) - 1
        elif action in {"sort", "sort_back"}:
            names = ["", *(column.name for column, _ in listing.visible(self.size[0]))]
            at = names.index(listing.sort) if listing.sort in names else 0
            listing.sort = names[(at + (1 if action == "sort" else -1)) % len(names)]
            self._show_from_the_top(listing)
        elif action == "reverse":
            listing.reverse = not listing.reverse
            self._show_from_the_top(listing)
        else:
            self._on_list_further(action, listing)

    def _show_from_the_top(self, listing: Listing) -> None:
        self._update()
        listing.move(0, self.height)

    def _on_list_further(self, action: str, listing: Listing) -> None:
        if action in {"filter", "earlier_filter"}:
            self.prompt = Prompt(
                "/", self._filter, listing.filter_text, len(listing.filter_text), self._filters
            )
            if action == "earlier_filter":
                self.prompt.press("ctrl+r", None)
        elif action == "back":
            self._filter("")
        elif action == "columns":
            self.choosing = 0
        elif action == "tree":
            self.tree = not self.tree
            self._update()
        elif action == "pause":
            self.paused = not self.paused
        elif action == "export":
            self.run(self._export)
        elif action == "save":
            self.run(self._save)
        elif action == "open" and listing.chosen is not None:
            self._open(listing.chosen)

    def _open(self, row: Any) -> None:  # noqa: ANN401 - a row of any list
        self.page = page_of(row, self.picture, self.trail)
        if self.page is None:
            self.note("there is no page of this")
        self._read_page()

    def _filter(self, text: str) -> str:
        try:
            self.listing.filter_by(text)
        except FilterError as error:
            return str(error)
        if text.strip() and text.strip() not in self._filters[-1:]:
            self._filters.append(text.strip())
        self._update()
        self.listing.move(self.listing.cursor, self.height)
        return ""

    def _choose(self, action: str) -> None:
        columns, at = self.listing.columns, self.choosing or 0
        if action in {"up", "down"}:
            self.choosing = (at + (1 if action == "down" else -1)) % len(columns)
        elif action in {"pause", "open"} and at > 0:
            self.listing.toggle(columns[at].name, self.size[0])
        elif action in {"back", "columns"}:
            self.choosing = None

    def _on_page(self, page: Page, action: str) -> None:
        replay, height = page.replay, self.size[1] - 4
        doing: dict[str, Callable[[], None]] = {
            "pause": replay.toggle, "live": replay.go_live,
            "step_back": lambda: replay.step(-1), "step_on": lambda: replay.step(1),
            "left": lambda: replay.step(-1), "right": lambda: replay.step(1),
            "faster": lambda: replay.change_speed(2), "slower": lambda: replay.change_speed(0.5),
            "zoom": lambda: replay.zoom(1), "wide": lambda: replay.zoom(-1),
            "up": lambda: page.scroll(-1), "down": lambda: page.scroll(1),
            "page_up": lambda: page.scroll(-height), "page_down": lambda: page.scroll(height),
            "first": lambda: page.scroll(-10**6), "last": lambda: page.scroll(10**6),
        }  # fmt: skip
        if action in doing:
            doing[action]()
            if action in {"live", "zoom", "wide"}:
                page.read_soon()
        elif action == "back":
            self.page = None
        elif action == "go":
            self.prompt = Prompt("go to: ", self._jump)
        elif action.startswith("pane_"):
            self.page, self.pane = None, int(action[-1]) - 1
        self._read_page()

    def _jump(self, text: str) -> str:
        if self.page is None:
            return ""
        try:
            self.page.replay.jump(text)
            self.page.read_soon()
        except TimeError as error:
            return str(error)
        self._read_page()
        return ""

    def _export(self) -> str:
        name = list(self.listings)[self.pane]
        try:
            path = write_csv(
                self.export_folder.absolute(), name, self.listing.columns, list(self.listing.rows)
            )
        except OSError as error:
            return f"! {self.export_folder.absolute()}: cannot be written ({error.strerror or error})"
        return f"{len(self.listing.rows)} rows are in {path}"

    def _save(self) -> str:
        if self.layout_path is None:
            return "there is no place for the layout"
        try:
            save_layout(self.layout_path, self.pane, self.listings)
        except OSError as error:
            return f"! {self.layout_path}: cannot be written ({error.strerror or error})"
        return f"the layout is saved in {self.layout_path}"
