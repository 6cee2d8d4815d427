"""HTML from text that is not trusted: names, messages and logs of runs."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pylon.recorder.report.units import time_text, utc_text

# JSON in a page: what could end its element, and what older parsers take for a line's end.
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def text(value: object) -> str:
    """Text for the inside of an element or of a quoted attribute; control characters become '?'."""
    shown = "".join(one if one.isprintable() or one in "\n\t" else "?" for one in str(value))
    return html.escape(shown, quote=True)


def element(name: str, inside: str, **attributes: str) -> str:
    """An element around HTML; `class_` gives the attribute class."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{given}>{inside}</{name}>"


def time_element(unix_s: float | None) -> str:
    """A time, which the page's script shows in the zone of its reader."""
    utc = "" if unix_s is None else utc_text(unix_s)
    return element("time", text(time_text(unix_s)), datetime=utc) if utc else text(time_text(unix_s))


def listed(items: Iterable[str], class_: str) -> str:
    """A list of texts."""
    return element("ul", "".join(element("li", text(item)) for item in items), class_=class_)


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and their HTML."""
    return element("dl", "".join(f"<dt>{text(name)}</dt><dd>{inside}</dd>" for name, inside in pairs))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str, texts: int = 1) -> str:
    """A table of HTML cells whose first `texts` columns are words, and the others numbers."""

    def cell(name: str, place: int, inside: str, **attributes: str) -> str:
        return element(name, inside, **({"class_": "text"} if place < texts else {}), **attributes)

    head = "".join(cell("th", place, text(one), scope="col") for place, one in enumerate(heads))
    body = ""
    for row in rows:
        first = cell("th", 0, row[0], scope="row")
        others = "".join(cell("td", place, one) for place, one in enumerate(row[1:], 1))
        body += f"<tr>{first}{others}</tr>"
    inside = f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    region = {"class_": "scroll", "tabindex": "0", "role": "region", "aria_label": caption}
    return element("div", element("table", inside), **region)


def json_in_script(value: Any) -> str:  # noqa: ANN401 - JSON
    """JSON that nothing in it can leave; what is not finite is refused."""
    shown = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _IN_SCRIPT.items():
        shown = shown.replace(character, escape)
    return shown
