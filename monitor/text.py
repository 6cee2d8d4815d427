"""Text of unknown origin, made safe to show."""


def printable(text: str, instead: str = "?") -> str:
    """`text` with `instead` for each character that could control a terminal or break a log line."""
    return "".join(one if one.isprintable() else instead for one in text)
