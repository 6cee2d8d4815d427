"""The alert rules and the dashboard, without a running Prometheus."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from pylon.command import main
from pylon.views.export import shipped
from pylon.views.export.families import FAMILIES
from tests.views.export.queries import alert_queries, dashboard_queries
from tests.views.export.required import program

FOLDER = Path(shipped.__file__).parent


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")]
)
def test_promtool_accepts_the_rules_and_their_tests(arguments: tuple[str, ...]) -> None:
    command = [program("promtool"), *arguments]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_each_rule_is_seen_to_fire_and_not_to_fire() -> None:
    tests = (FOLDER / "alerts.test.yml").read_text(encoding="utf-8")
    for name in alert_queries():
        assert re.search(rf"alertname: {name}, eval_time: \d+m, exp_alerts: \[\]", tests), name
        assert re.search(rf"alertname: {name}\n.*\n +exp_alerts:\n +- exp_labels", tests), name


@pytest.mark.parametrize("queries", [alert_queries(), dashboard_queries()], ids=["alerts", "dashboard"])
def test_queries_name_what_is_exported(queries: dict[str, str]) -> None:
    labels = {
        f"pylon_{name}{'_info' if family.kind == 'info' else ''}": set(family.labels)
        for name, family in FAMILIES.items()
    }
    assert len(queries) > 15
    for title, query in queries.items():
        found = re.findall(r"(pylon_\w+)(?:\{([^}]*)\})?", query)
        assert found, title
        for name, selector in found:
            assert name in labels, title
            assert set(re.findall(r"(\w+)(?==|!=)", selector)) <= labels[name], title


def test_dashboard_has_no_panel_of_the_same_number_or_place() -> None:
    panels = json.loads(shipped.shipped_text("dashboard"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", ["alerts", "dashboard"])
def test_command_prints_what_is_shipped(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--print", name]) == 0
    assert capsys.readouterr().out == shipped.shipped_text(name)
