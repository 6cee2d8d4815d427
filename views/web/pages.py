"""The pages: frames that scripts fill, and the form to log in."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from pylon.recorder.report.page.document import charts_place, charts_script, page_style
from pylon.recorder.report.page.markup import json_in_script, text
from pylon.views.web.answers import HTML, Answer
from pylon.views.web.picture import Picture

_HERE = Path(__file__).resolve().parent / "static"
_CSS, _JS = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
_NO_SCRIPT = (
    '<noscript><p class="note">This page needs JavaScript, which is part of Pylon: nothing is loaded from '
    "elsewhere. <code>pylon once</code> shows the servers, <code>pylon report</code> a run.</p></noscript>"
)


def static_files() -> dict[str, Answer]:
    """All files that pages load, by path."""

    def read(name: str) -> str:
        return (_HERE / name).read_text(encoding="utf-8")

    live = read("live.js")
    files = {
        "page.css": (page_style(), _CSS),
        "live.css": (read("live.css"), _CSS),
        "overview.js": (f'"use strict";(function(){{\n{live}\n{read("overview.js")}}})();\n', _JS),
        "charts.js": (charts_script(f"{live}\n{read('detail.js')}"), _JS),
    }
    icon = Answer(read("icon.svg").encode(), "image/svg+xml")
    return {f"/static/{name}": Answer(body.encode(), type_) for name, (body, type_) in files.items()} | {
        "/static/icon.svg": icon
    }


def overview_page(picture: Picture) -> Answer:
    """Servers and runs in one page.

    Args:
        picture: is shown before the first one comes.
    """
    body = (
        "<h1>Pylon</h1>"
        '<section id="alerts" aria-labelledby="alerts-title"><h2 id="alerts-title">Alerts</h2>'
        '<ul class="alerts" id="alert-list"></ul></section>'
        '<section aria-labelledby="runs-title"><h2 id="runs-title">Runs</h2>'
        '<form action="/compare" method="get" id="compare"><div class="scroll" tabindex="0" role="region" '
        'aria-label="Table of runs"><table id="runs"></table></div>'
        '<p><button type="submit" id="compare-button" disabled>Compare the chosen runs</button></p></form>'
        '</section><section aria-labelledby="servers-title"><h2 id="servers-title">Servers</h2>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of servers">'
        '<table id="servers"></table></div></section>'
    )
    data = picture.frame(0) if not picture.is_empty else "null"
    # It is JSON already; what could end the element is escaped.
    escaped = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return _page(
        "Pylon", body, "overview.js", f'<script type="application/json" id="data">{escaped}</script>'
    )


def detail_page(title: str, source: str, keys: Sequence[str]) -> Answer:
    """The page of a server, a run or a comparison.

    Args:
        title: of the page.
        source: where its script gets what it shows.
        keys: of the parts of pictures whose changes make it ask again.
    """
    body = f'<div id="head"><h1>{text(title)}</h1></div>{charts_place()}<div id="tail"></div>'
    data = json_in_script({"source": source, "keys": keys})
    return _page(title, body, "charts.js", f'<script type="application/json" id="data">{data}</script>')


def login_page(*, failed: bool) -> Answer:
    """The form that asks for the token."""
    note = '<p class="bad" role="alert">This is not the token.</p>' if failed else ""
    body = (
        f"<h1>Pylon</h1>{note}"
        # Managers of passwords keep one by its user's name.
        '<form method="post" action="/login">'
        '<input name="username" value="pylon" autocomplete="username" hidden>'
        '<label for="token">Token</label> '
        '<input id="token" name="token" type="password" autocomplete="current-password" required> '
        '<button type="submit">Log in</button></form>'
        "<p>It is in the file of <code>--token-file</code>, or was printed when the server began.</p>"
    )
    page = _document("Pylon: log in", f"<main>{body}</main>", "")
    return Answer(page, HTML, HTTPStatus.UNAUTHORIZED if failed else HTTPStatus.OK)


def _page(title: str, body: str, script: str, data: str) -> Answer:
    frame = (
        '<nav aria-label="Pages"><a href="/">Overview</a></nav><main>'
        '<p class="status"><span id="status" role="status">connecting</span> <span id="clock"></span></p>'
        f"{_NO_SCRIPT}{body}</main>{data}"
    )
    return Answer(_document(title, frame, f'<script src="/static/{script}" defer></script>'), HTML)


def _document(title: str, body: str, head: str) -> bytes:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title>"
        '<link rel="icon" href="/static/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/static/page.css"><link rel="stylesheet" href="/static/live.css">'
        f"{head}</head><body>{body}</body></html>\n"
    ).encode()
