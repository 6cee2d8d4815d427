"""What Prometheus and Grafana are given: alert rules with their tests, and a dashboard."""

from importlib import resources

_FILES = {"alerts": "alerts.yml", "dashboard": "dashboard.json"}


def shipped_text(name: str) -> str:
    """The text of a file.

    Args:
        name: 'alerts' or 'dashboard'.

    Raises:
        KeyError: there is no such file.
    """
    return resources.files(__name__).joinpath(_FILES[name]).read_text(encoding="utf-8")
