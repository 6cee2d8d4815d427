"""One line that is typed: a filter, or a time."""

from collections.abc import Callable
from dataclasses import dataclass, field

_LONGEST = 1000


@dataclass
class Prompt:
    """A line under way.

    Attributes:
        label: what is asked for.
        done: takes the text; returns what is wrong with it, or ''.
        text: so far.
        at: place of the cursor.
        earlier: texts of before, the newest last.
        problem: what is wrong; the line stays open.
    """

    label: str
    done: Callable[[str], str]
    text: str = ""
    at: int = 0
    earlier: list[str] = field(default_factory=list)
    problem: str = ""
    _back: int = 0

    def press(self, key: str, character: str | None) -> bool:
        """Take a key; whether the line is done."""
        if key == "enter":
            self.problem = self.done(self.text)
            return not self.problem
        if key in {"escape", "ctrl+c"}:
            return True
        if key in {"ctrl+r", "up"} and self.earlier:
            self._back = self._back % len(self.earlier) + 1
            self._put(self.earlier[-self._back])
        elif key in {"backspace", "ctrl+h"}:
            self.text, self.at = self.text[: max(0, self.at - 1)] + self.text[self.at :], max(0, self.at - 1)
        elif key == "delete":
            self.text = self.text[: self.at] + self.text[self.at + 1 :]
        elif key == "ctrl+u":
            self._put("")
        elif key in {"left", "right", "home", "end"}:
            self.at = {"left": max(0, self.at - 1), "right": min(len(self.text), self.at + 1), "home": 0}.get(
                key, len(self.text)
            )
        elif character is not None:
            self.insert(character)
        return False

    def insert(self, text: str) -> None:
        """Put a text where the cursor is."""
        kept = "".join(one for one in text if one.isprintable())[: _LONGEST - len(self.text)]
        self.text, self.at = self.text[: self.at] + kept + self.text[self.at :], self.at + len(kept)

    def _put(self, text: str) -> None:
        self.text, self.at = text, len(text)

    def line(self, cursor: str) -> str:
        """The line, with a mark where the cursor is."""
        return f"{self.label}{self.text[: self.at]}{cursor}{self.text[self.at :]}"
