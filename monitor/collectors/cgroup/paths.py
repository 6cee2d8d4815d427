"""Where the control group of a process is in the tree of the kernel, versions 1 and 2.

A host mounts version 2 at /sys/fs/cgroup, or one hierarchy of version 1 per controller below it
and version 2 at 'unified' (hybrid). /proc/PID/cgroup names a path in each. In a container that
path may be the host's (then the mount begins at the group itself), or '/' (a cgroup namespace), or
begin with '/..' (a process outside the reader's namespace: its group cannot be seen).
"""

import os

from pylon.monitor.collectors.cgroup.files import Group


class Groups:
    """The groups of one process, by controller.

    Args:
        membership: content of /proc/PID/cgroup.
        root: '/sys/fs/cgroup', or a recorded tree.
    """

    def __init__(self, membership: bytes, root: str) -> None:
        self._v1: dict[str, Group] = {}
        self._v2: Group | None = None
        for line in os.fsdecode(membership).splitlines():
            _, _, rest = line.partition(":")
            controllers, found, path = rest.partition(":")
            if not found:
                continue
            if not controllers:
                self._v2 = _group(2, _v2_mount(root), path)
                continue
            for controller in controllers.split(","):
                # Controllers that share a hierarchy share a folder, to which links may be missing.
                mounts = (f"{root}/{controller}", f"{root}/{controllers}")
                mount = next((one for one in mounts if os.path.isdir(one)), None)  # noqa: PTH112 - a string
                group = _group(1, mount, path)
                if group is not None:
                    self._v1[controller] = group

    def of(self, controller: str) -> Group | None:
        """The group that `controller` accounts; None if it cannot be seen."""
        return self._v1.get(controller, self._v2)

    @property
    def unified(self) -> Group | None:
        """The group in version 2's hierarchy."""
        return self._v2


def _v2_mount(root: str) -> str | None:
    mounts = (root, f"{root}/unified")
    return next((one for one in mounts if os.path.exists(f"{one}/cgroup.controllers")), None)  # noqa: PTH110


def _group(version: int, mount: str | None, path: str) -> Group | None:
    parts = [part for part in path.split("/") if part]
    if mount is None or ".." in parts or path.endswith(" (deleted)"):
        return None
    # If the mount begins below the hierarchy's root, only the path's end can be found in it.
    for first in range(len(parts) + 1):
        inside = parts[first:]
        if os.path.isdir("/".join([mount, *inside])):  # noqa: PTH112 - a string
            depths = range(len(inside), -1, -1)
            return Group(version, tuple("/".join([mount, *inside[:depth]]) for depth in depths))
    return None
