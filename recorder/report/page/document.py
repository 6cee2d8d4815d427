"""The frame of every page: style, script and data in one file, which may load and send nothing."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylon.recorder.report.page.markup import element, json_in_script, text

_HERE = Path(__file__).resolve().parent
_OF_CHARTS = ("data.js", "draw.js", "view.js", "table.js", "show.js")
_KEYS = (
    "Drag over a chart to zoom in; double-click for all; Ctrl and the wheel zoom. With a chart in focus: "
    "left and right move the cursor (Shift: ten times as far), + and - zoom, 0 shows all, Page Up and "
    "Page Down move the range, Escape removes the cursor."
)
_HATCH = (
    '<svg id="hatch-holder" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V5"/></pattern></defs></svg>'
)


def document(title: str, head: str, views: Sequence[dict[str, Any]], tail: str) -> str:
    """A whole page.

    Args:
        title: of the page.
        head: HTML above the charts.
        views: what the charts show, a view for each choice of axis.
        tail: HTML below the charts.
    """
    style = page_style()
    script = charts_script((_HERE / "start.js").read_text(encoding="utf-8"))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{text(title)}</title><style>{style}</style></head><body>"
        f"<main>{head}{charts_place() if views else ''}{tail}</main>"
        f'<script type="application/json" id="data">{json_in_script({"views": list(views)})}</script>'
        f"{element('script', script)}</body></html>\n"
    )


def charts_place() -> str:
    """HTML of the place where a script draws charts."""
    return (
        f'<h2 id="curves">Charts</h2><p class="help" id="keys">{text(_KEYS)}</p>'
        '<noscript><p class="note">The charts need JavaScript. All else on this page does not.</p></noscript>'
        f'<fieldset id="views" hidden></fieldset><div id="toolbar" hidden></div>{_HATCH}'
        '<div id="charts"></div><div id="live" class="hidden" aria-live="polite" role="status"></div>'
    )


def charts_script(start: str) -> str:
    """The script that draws charts.

    Args:
        start: what is done with its functions.
    """
    parts = [*((_HERE / name).read_text(encoding="utf-8") for name in _OF_CHARTS), start]
    inside = "\n".join(part.replace('"use strict";\n', "", 1) for part in parts)
    return f'"use strict";(function(){{\n{inside}}})();\n'


def page_style() -> str:
    """The style of every page."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    digest = hashlib.sha256(inline.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
