"""The screens that docs/watch.md shows: `python -m tests.views.terminal.shown` prints them."""

import dataclasses

from pylon.views.terminal.desk import Desk
from pylon.views.terminal.drawing import screen
from tests.views.terminal.invented import picture, trail


def shown(keys: list[str], height: int) -> str:
    """The screen after some keys."""
    desk = Desk(trail, lambda job: None, size=(80, height))
    desk.take(dataclasses.replace(picture(5, 2), at=1_790_000_000.0))
    for key in keys:
        desk.press(key)
    lines = ["".join(cell.text for cell in line).rstrip() for line in screen(desk)]
    return "\n".join(lines) + "\n"


SCREENS = {"a list": ([], 10), "runs": (["4"], 7), "a page": (["2", "enter"], 22)}


def main() -> None:
    """Print all of them."""
    for title, (keys, height) in SCREENS.items():
        print(f"--- {title}\n{shown(keys, height)}")  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
