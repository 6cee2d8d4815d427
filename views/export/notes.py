"""What is wrong, noted once when it begins."""

from collections.abc import Callable, Sequence


class Notes:
    """Notes what was not wrong at the look before.

    Args:
        note: is given a line.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._known: frozenset[str] = frozenset()

    def see(self, problems: Sequence[str]) -> None:
        """Note those of `problems` that are new."""
        for problem in dict.fromkeys(problems):
            if problem not in self._known:
                self._note(problem)
        self._known = frozenset(problems)
