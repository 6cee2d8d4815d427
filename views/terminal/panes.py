"""The lists of the screen, and their rows in a picture."""

from typing import Any

from pylon.views.sources.servers import ServerNow
from pylon.views.terminal.listing import Listing
from pylon.views.terminal.picture import Picture
from pylon.views.terminal.processes import PROCESSES, process_lines
from pylon.views.terminal.rows import ALERTS, GPUS, RUNS, SERVERS, GPURow, alert_lines, gpu_rows

# A GPU is well although the driver does not report this figure.
_WELL = {None, "starting", "unsupported"}


def listings() -> dict[str, Listing]:
    """The lists, by their names in layouts and files, in the order of their keys."""
    return {
        "servers": Listing("Servers", SERVERS, lambda row: row.name, _is_bad_server),
        "gpus": Listing("GPUs", GPUS, lambda row: (row.server.name, row.now.uuid), _is_bad_gpu),
        "processes": Listing("Processes", PROCESSES, lambda row: (row.server, row.pid)),
        "runs": Listing(
            "Runs", RUNS, lambda row: row.path,
            lambda row: bool(row.alerts_now) or row.state not in {"running", "finished"},
        ),
        "alerts": Listing("Alerts", ALERTS, lambda row: (row.of, row.rule, row.since), lambda row: row.holds),
    }  # fmt: skip


def _is_bad_server(row: ServerNow) -> bool:
    return row.state not in {"ok", "starting"}


def _is_bad_gpu(row: GPURow) -> bool:
    return row.now.figure("gpu_utilization").reason not in _WELL


def rows_of(picture: Picture, *, tree: bool) -> dict[str, list[Any]]:
    """The rows of each list.

    Args:
        picture: what is known.
        tree: whether processes are below those that started them.
    """
    shown, runs = picture.servers, picture.runs
    return {
        "servers": list(shown),
        "gpus": gpu_rows(shown),
        "processes": process_lines(shown, picture.parents if tree else None),
        "runs": list(runs.runs),
        "alerts": alert_lines(shown, runs.runs, runs.problems),
    }
