"""Which page a row of a list opens."""

from typing import Any

from pylon.views.sources.runs import RunNow
from pylon.views.sources.servers import ServerNow
from pylon.views.terminal.figures import Facts, gpu_facts, run_facts, server_facts
from pylon.views.terminal.page import Page
from pylon.views.terminal.past import Past, Trail, past_of_run, past_of_server
from pylon.views.terminal.picture import Picture
from pylon.views.terminal.processes import ProcessLine
from pylon.views.terminal.rows import AlertLine, GPURow


def page_of(row: Any, picture: Picture, trail: Trail) -> Page | None:  # noqa: ANN401 - a row of any list
    """The page of a server, a GPU, a run, or of what a process or an alert is of; None: there is none."""
    if isinstance(row, ServerNow):
        return _of_server(row.name, trail)
    if isinstance(row, GPURow):
        return _of_gpu(row.server.name, row.now.uuid, row.now.place, trail)
    if isinstance(row, RunNow):
        return _of_run(row)
    if isinstance(row, ProcessLine):
        return _of_server(row.server, trail)
    return _of_alert(row, picture, trail) if isinstance(row, AlertLine) else None


def _of_alert(row: AlertLine, picture: Picture, trail: Trail) -> Page | None:
    run = next((one for one in picture.runs.runs if one.name == row.of), None)
    if run is not None:
        return _of_run(run)
    return _of_server(row.of, trail) if row.of in {one.name for one in picture.servers} else None


def _of_server(name: str, trail: Trail) -> Page:
    def facts(picture: Picture, width: int) -> Facts | None:
        server = _server(picture, name)
        return None if server is None else server_facts(server, width)

    return Page(f"Server {name}", facts, lambda _since, _until: past_of_server(trail, name))


def _of_gpu(name: str, uuid: str, place: int, trail: Trail) -> Page:
    def facts(picture: Picture, width: int) -> Facts | None:
        server = _server(picture, name)
        gpu = next((one for one in (server.gpus if server else ()) if one.uuid == uuid), None)
        return None if server is None or gpu is None else gpu_facts(server, gpu, width)

    return Page(f"GPU {place} of {name}", facts, lambda _since, _until: past_of_server(trail, name, uuid))


def _of_run(run: RunNow) -> Page:
    path, launch = run.path, run.launch.id or 0

    def facts(picture: Picture, width: int) -> Facts | None:
        now = next((one for one in picture.runs.runs if one.path == path), None)
        return None if now is None else run_facts(now, width)

    def read(since: float | None, until: float | None) -> Past:
        return past_of_run(path, launch, since, until)

    return Page(f"Run {run.name}", facts, read, slow=True)


def _server(picture: Picture, name: str) -> ServerNow | None:
    return next((one for one in picture.servers if one.name == name), None)
