"""The page of one launch."""

import json
from collections.abc import Sequence
from typing import Any

from pylon.recorder.report.charts.line import View
from pylon.recorder.report.figures import Figure
from pylon.recorder.report.page.document import document
from pylon.recorder.report.page.markup import definitions, element, listed, table, text, time_element
from pylon.recorder.report.story import Story, Verdict, facts
from pylon.recorder.report.text import alert_duration, earlier_text, quoted_texts
from pylon.recorder.report.units import range_text, value_text
from pylon.recorder.report.words import SOURCES
from pylon.storage import parsed_json

_MOST_ALERTS = 200
_MOST_EARLIER = 50
_LONGEST_TEXT = 20_000


def run_page(story: Story, view: View) -> str:
    """The whole file."""
    head, tail = run_parts(story)
    return document(f"{story.title}: {story.cause}", head, [view.as_record()], tail)


def run_parts(story: Story) -> tuple[str, str]:
    """HTML above the charts, and below them."""
    head = _header(story) + element("div", _verdict(story.verdict) + _facts(story), class_="columns")
    head += _earlier(story) + figures_section(story.figures) + _alerts(story)
    tail = _quoted("Stacks while it hung", story.stacks)
    for title, quoted in quoted_texts(story.ending) if story.ending else ():
        tail += _quoted(title, quoted)
    tail += "".join(
        _details(name, getattr(story.launch, name)) for name in ("configuration", "hardware", "cgroup")
    )
    return head, tail


def _header(story: Story) -> str:
    state = story.state
    lines = f'<p class="kind"><span class="badge">{text(state)}</span></p><h1>{text(story.title)}</h1>'
    lines += element("p", text(story.cause), class_="cause") + element(
        "p", text(story.advice), class_="advice"
    )
    if story.ending is not None:
        source = SOURCES.get(story.ending.source, story.ending.source)
        lines += element("p", f"Evidence ({text(source)}):", class_="kind")
        lines += listed(story.evidence or ("none was recorded",), "evidence")
    return element("header", lines, class_=state if state.isalpha() else "unknown")


def _earlier(story: Story) -> str:
    shown = [earlier_text(launch, ending) for launch, ending in story.earlier[-_MOST_EARLIER:]]
    return "<h2>Earlier launches</h2>" + listed(shown, "evidence") if shown else ""


def _facts(story: Story) -> str:
    times = {"began": time_element(story.launch.began_at), "ended": time_element(story.end)}
    shown = dict(facts(story))
    if story.ending is None:
        times["ended"] = text("running; last recorded ") + time_element(story.last_seen)
    pairs = [(name, times.get(name, text(value))) for name, value in shown.items()]
    return element("section", "<h2>Run</h2>" + definitions(pairs))


def _verdict(verdict: Verdict | None) -> str:
    inside = "<h2>What held it back</h2>"
    if verdict is None:
        return element("section", inside + "<p>No verdict was recorded.</p>")
    share = "" if verdict.share > 0.995 else f", for {verdict.share * 100:.0f} % of the time"
    inside += f"<p><strong>{text(verdict.title)}</strong>{text(share)}</p>" + listed(
        verdict.evidence, "evidence"
    )
    if verdict.advice:
        inside += f"<p>{text(verdict.advice)}.</p>"
    if verdict.step_s_if_cured is not None:
        cured = value_text(verdict.step_s_if_cured, "seconds")
        inside += f"<p>Without it a step would take about {text(cured)}.</p>"
    if verdict.runner_up:
        inside += f"<p>Next: {text(verdict.runner_up)}</p>"
    return element("section", inside)


def figures_section(figures: Sequence[Figure]) -> str:
    """The table of the last minutes."""
    if not figures:
        return "<h2>Last minutes</h2><p>No figure of the last minutes was recorded.</p>"
    heads = ("Figure", "10 min before", "Last minute (least to greatest)", "Newest")
    caption = "Means of the last minute, and of the ten minutes before it"
    return "<h2>Last minutes</h2>" + table(heads, (_row(one) for one in figures), caption)


def _row(figure: Figure) -> list[str]:
    before = text(value_text(figure.before, figure.unit))
    if figure.last is None:
        return [text(figure.name), before, f"<em>{text(figure.reason)}</em>", ""]
    newest = text(value_text(figure.newest, figure.unit))
    if figure.newest is None:
        newest = f"<em>{text(figure.reason)}</em>"
    return [text(figure.name), before, text(range_text(figure.last, figure.unit)), newest]


def _alerts(story: Story) -> str:
    if not story.alerts:
        return ""
    rows = [
        [
            time_element(alert.since),
            text(alert.severity),
            text(alert.text),
            text(alert_duration(alert, running=story.ending is None)),
        ]
        for alert in story.alerts[-_MOST_ALERTS:]
    ]
    caption = (
        f"The last {len(rows)} of {len(story.alerts)}"
        if len(rows) < len(story.alerts)
        else "From the oldest on"
    )
    return "<h2>Alerts</h2>" + table(("Since", "Severity", "Alert", "Lasted"), rows, caption, texts=3)


def _quoted(title: str, quoted: str | None) -> str:
    if not quoted or not quoted.strip():
        return ""
    cut = quoted if len(quoted) <= _LONGEST_TEXT else f"...{quoted[-_LONGEST_TEXT:]}"
    return f"<h2>{text(title)}</h2>" + element("pre", text(cut), tabindex="0")


def _details(name: str, value: str | None) -> str:
    if not value:
        return ""
    cut = _indented(value)[:_LONGEST_TEXT]
    return element(
        "details", f"<summary>{text(name.capitalize())}</summary>" + element("pre", text(cut), tabindex="0")
    )


def _indented(value: str) -> str:
    try:
        parsed: Any = parsed_json(value)
    except ValueError:
        return value
    return json.dumps(parsed, indent=2, ensure_ascii=False)
