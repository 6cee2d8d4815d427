"""The section of a frame about GPUs: the state of nvidia-smi, and its figures."""

from dataclasses import dataclass, field

from pylon.monitor.remote.far.sections import Lines, MalformedError, decimal, whole
from pylon.monitor.remote.far.smi import GPUFigures, gpu_figures

MOST_GPUS = 64
"""The script sends no more, and no server has more: what names others in each frame does not fill memory."""


@dataclass(slots=True)
class GPUSection:
    """The section 'gpu' of a frame.

    Attributes:
        state: off, starting, missing, started, running or ended.
        since_s: uptime at which nvidia-smi was started, or ended.
        interval_s: how often it is to read the GPUs.
        run: distinguishes one start of it from the others.
        queried: its fields; sent when they have changed, and now and then.
        lines: the newest of each GPU, with its uptime.
        message_s, message: the newest of its output that is no such line.
        left_out: what it printed in place of any figures, before it was asked for the other GPUs alone; None:
            it is asked for all.
    """

    state: str
    since_s: float | None
    interval_s: float
    run: str
    queried: tuple[str, ...] = ()
    lines: list[tuple[float | None, str]] = field(default_factory=list)
    message_s: float | None = None
    message: str | None = None
    left_out: str | None = None


def gpu_section(lines: Lines) -> GPUSection:
    """The section in parts. Raises MalformedError."""
    head = lines[0].split() if lines else []
    if len(head) != 5 or head[0] != "state":
        raise MalformedError("gpu")
    section = GPUSection(head[1], clock(head[2]), whole(head[3]) / 1000, head[4])
    for line in lines[1:]:
        name, _, rest = line.partition(" ")
        at, _, content = rest.partition(" ")
        if name == "fields":
            section.queried = tuple(rest.split(","))
        elif name == "gpu" and len(section.lines) < MOST_GPUS:
            section.lines.append((clock(at), content))
        elif name == "words":
            section.message_s, section.message = clock(at), content.strip() or None
        elif name == "left_out":
            section.left_out = rest.strip() or None
    return section


def clock(word: str) -> float | None:
    """An uptime; None if there is no such clock. Raises MalformedError."""
    return None if word == "-" else decimal(word)


def figures_of(section: GPUSection) -> tuple[list[tuple[float, GPUFigures]], str | None]:
    """The lines that can be read, and what is wrong with another."""
    found: dict[str, tuple[float, GPUFigures]] = {}
    nonsense = None
    for at_s, line in section.lines:
        if at_s is None:
            continue
        try:
            figures = gpu_figures(section.queried, line)
        except MalformedError as error:
            nonsense = f"nvidia-smi: a line that is not in its format: {error}"
            continue
        # A GPU whose number has changed is there twice: the older line has the former number.
        if figures.uuid not in found or found[figures.uuid][0] < at_s:
            found[figures.uuid] = (at_s, figures)
    return list(found.values()), nonsense
