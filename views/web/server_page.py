"""What the page of a server has above and below its charts."""

from pylon.recorder.report.page.markup import element, listed, table, text
from pylon.recorder.report.units import value_text
from pylon.views.sources.servers import GPU_FIGURES, HOST_FIGURES, FigureNow, ServerNow, scope_of
from pylon.views.web.parts import processes_of, shown

_MOST_PROCESSES = 64
_REASONS = "A figure without a value has the reason"
_ANY = "gpu_utilization"


def server_head(server: ServerNow) -> str:
    """State and figures of a server, as HTML."""
    state = "finished" if server.is_ok else "failed"
    head = f'<p class="kind"><span class="badge">{text(server.state)}</span></p>'
    head += element("h1", text(shown(server.name)))
    if server.note:
        head += element("p", text(shown(server.note, 2000)), class_="advice")
    if server.same_as:
        head += element("p", text(f"seems to be the same machine as {shown(server.same_as)}"), class_="note")
    return element("header", head, class_=state)


def server_tail(server: ServerNow, *, commands: bool) -> str:
    """Processes on its GPUs and all figures of a server, as HTML."""
    rows = []
    for name, unit in HOST_FIGURES.items():
        found = server.figure(name)
        rows.append([text(name), _value(found, unit), text(scope_of(name)), text(_age(found.age_s))])
    figures = "<h2>Figures</h2>" + table(("Figure", "Value", "Of", "Age"), rows, _REASONS)
    return _processes(server, commands=commands) + _gpus(server) + figures


def _gpus(server: ServerNow) -> str:
    gpus = server.gpus
    if not gpus:
        return "" if server.gpus_known else "<h2>GPUs</h2><p>It is not known which GPUs it has.</p>"
    rows = [["name", *(text(shown(gpu.gpu.name or "?")) for gpu in gpus)]]
    for name, unit in GPU_FIGURES.items():
        # Sums of bits are no value for people.
        if unit != "bits":
            rows.append([text(name), *(_value(gpu.figure(name), unit) for gpu in gpus)])
    rows.append(["age", *(text(_age(gpu.figure(_ANY).age_s)) for gpu in gpus)])
    heads = ("Figure", *(f"GPU {gpu.place}" for gpu in gpus))
    return "<h2>GPUs</h2>" + table(heads, rows, f"{_REASONS}, for each GPU")


def _value(found: FigureNow, unit: str) -> str:
    if found.value is None:
        return element("em", text(found.reason))
    return text(value_text(found.value, unit))


def _processes(server: ServerNow, *, commands: bool) -> str:
    rows, unknown = [], []
    for gpu in server.gpus:
        found = processes_of(gpu, commands=commands)
        if found is None:
            unknown.append(f"GPU {gpu.place}: not known now")
            continue
        for one in found[:_MOST_PROCESSES]:
            cells = [f"GPU {gpu.place}", one["pid"], one["user"] or "?", one["name"] or "?"]
            cells += [one["command"] or "?"] if commands else []
            rows.append([*map(text, cells), text(value_text(one["memory"], "bytes"))])
    if not rows and not unknown:
        return ""
    heads = ("GPU", "Process", "User", "Name", *(("Command",) if commands else ()), "GPU memory")
    shown_rows = (
        table(heads, rows, "Processes that hold memory of GPUs", texts=len(heads) - 1) if rows else ""
    )
    return "<h2>GPU processes</h2>" + shown_rows + (listed(unknown, "evidence") if unknown else "")


def _age(age_s: float | None) -> str:
    return "?" if age_s is None else f"{age_s:.0f} s"
