"""The queries of the dashboard and of the alerts, as they are shipped."""

import json
import re

from pylon.views.export.shipped import shipped_text


def dashboard_queries() -> dict[str, str]:
    """By title of the panel, without Grafana's variables."""
    found = {}
    for panel in json.loads(shipped_text("dashboard"))["panels"]:
        for target in panel.get("targets", ()):
            query = re.sub(r"\$(server|run)\b", ".*", target["expr"])
            found[f"{panel['title']} {target['refId']}"] = query
    return found


def alert_queries() -> dict[str, str]:
    """By name of the alert."""
    found = {}
    for block in shipped_text("alerts").split("- alert: ")[1:]:
        name, _, rest = block.partition("\n")
        query = re.search(r"\n        expr: (?:>-\n)?(.*?)\n        (?:for|labels):", "\n" + rest, re.S)
        assert query is not None, name
        found[name] = " ".join(query[1].split())
    return found
