"""What the server wrote, made fit for an error's text."""

from pylon.monitor import text as any_text

_LONGEST = 300


def printable(words: str | bytes, longest: int = _LONGEST) -> str:
    """`words` on one line, without control characters, the last `longest` of them."""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    text = " ".join(any_text.printable(text, " ").split())
    return text if len(text) <= longest else "..." + text[-longest:]
