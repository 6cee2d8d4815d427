"""The control group at the root of what the far shell can see: a container's; a whole machine has none.

A login has a group of its own, which limits no training run there: it is not looked at.
"""

from pylon.monitor.collectors.cgroup.figures import CgroupFigures
from pylon.monitor.collectors.cgroup.files import Group
from pylon.monitor.remote.far.sections import Lines
from pylon.monitor.status.cpu import CgroupSample
from pylon.monitor.status.values import Absence, Side

_FOLDER = ""
# The files of a real group have fewer than 100 lines together.
_MOST_LINES = 512


class RemoteCgroup:
    """Reads one server's control group in frames. Limits and pressure are in some of them only."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._figures = CgroupFigures(self._read, Side.REMOTE)

    def read(
        self, now_s: float | None, lines: Lines | None, host_cores: int | None, *, slow: bool
    ) -> CgroupSample | Absence:
        """One reading.

        Args:
            now_s: the far monotonic clock.
            lines: of the frame's section.
            host_cores: cores that are online there.
            slow: the frame has limits and pressure too, as far as they can be read there.
        """
        self._files = _by_name((lines or ())[:_MOST_LINES])
        version = {"1": 1, "2": 2}.get(self._files.pop("version", ""))
        if version is None:
            return Absence.UNSUPPORTED
        return self._figures.sample(now_s, host_cores, _RootGroup(version), slow=slow)

    def _read(self, path: str) -> str | Absence:
        return self._files.get(path.removeprefix(f"{_FOLDER}/"), Absence.UNSUPPORTED)


class _RootGroup:
    """One group for all controllers. Groups above it cannot be seen from there."""

    def __init__(self, version: int) -> None:
        self._group = Group(version, (_FOLDER,), to_root=False)

    def of(self, controller: str) -> Group:  # noqa: ARG002 - all have the same
        return self._group

    @property
    def unified(self) -> Group | None:
        return self._group if self._group.version == 2 else None


def _by_name(lines: Lines) -> dict[str, str]:
    """The content of each file, by its name."""
    files: dict[str, list[str]] = {}
    for line in lines:
        name, _, content = line.partition(" ")
        files.setdefault(name, []).append(content)
    return {name: "\n".join(contents) for name, contents in files.items()}
