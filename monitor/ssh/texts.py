"""What the server wrote, made fit for an error's text."""

from pylon.monitor.text import printable

_LONGEST = 300


def one_line(words: str | bytes, longest: int = _LONGEST) -> str:
    """`words` on one line, without control characters, the last `longest` of them."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    text = " ".join(printable(text, " ").split())
    return text if len(text) <= longest else "..." + text[-longest:]
