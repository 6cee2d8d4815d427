"""Texts of an exact width, in Unicode or in ASCII."""

import os
from collections.abc import Mapping

from rich.cells import cell_len, set_cell_size

_AS_ASCII = str.maketrans({"°": "", "·": "-", "…": "~", "─": "-", "│": "|", "µ": "u", "±": "+", "→": ">"})


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells; '…' is where it is cut."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


def as_ascii(text: str) -> str:
    """`text` with nothing but ASCII; what has no form in it is '?'."""
    return text if text.isascii() else text.translate(_AS_ASCII).encode("ascii", "replace").decode("ascii")


def knows_unicode(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the locale of a terminal's environment is one of UTF-8, as far as it is set."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if value := environment.get(name, ""):
            return "utf" in value.lower()
    return True
