"""OOM kills of a control group, from trees as kernels lay them out."""

from pathlib import Path

import pytest

from pylon.monitor import Absence, OOMCount, oom_count_in, own_oom_count


def tree(root: Path, membership: str, folder: str, **files: str) -> tuple[str, str, Path]:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    group = root / "cgroup" / folder
    group.mkdir(parents=True)
    for name, text in files.items():
        (group / f"memory.{name}").write_text(text)
    return f"{root}/proc", f"{root}/cgroup", group


def test_version_2(tmp_path: Path) -> None:
    proc, groups, group = tree(tmp_path, "0::/job\n", "job", events="low 0\noom 4\noom_kill 3\n")
    (tmp_path / "cgroup/cgroup.controllers").write_text("memory")
    assert own_oom_count(proc, groups) == OOMCount(str(group), group.stat().st_ino, 3)


def test_version_1(tmp_path: Path) -> None:
    proc, groups, group = tree(
        tmp_path, "4:memory:/job\n0::/\n", "memory/job", oom_control="under_oom 0\noom_kill 2\n"
    )
    assert own_oom_count(proc, groups) == OOMCount(str(group), group.stat().st_ino, 2)


@pytest.mark.parametrize(
    ("membership", "files"),
    [("4:memory:/job\n", {"oom_control": "under_oom 0\n"}), ("4:memory:/job\n", {}), ("0::/\n", {})],
)
def test_what_the_kernel_does_not_count_is_unknown_and_not_0(
    tmp_path: Path, membership: str, files: dict[str, str]
) -> None:
    proc, groups, _ = tree(tmp_path, membership, "memory/job", **files)
    assert own_oom_count(proc, groups) is Absence.UNSUPPORTED


def test_group_that_is_gone_has_no_count(tmp_path: Path) -> None:
    assert isinstance(oom_count_in(str(tmp_path / "gone")), Absence)
