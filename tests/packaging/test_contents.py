"""What is in the distributions."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import Distributions
from tests.packaging.installation import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def modules() -> set[str]:
    """Every file that an installation needs, by its name below site-packages."""
    own = {path.name for path in (REPOSITORY / "pylon").iterdir() if path.is_file()}
    linked = [path for path in (REPOSITORY / "pylon").iterdir() if path.is_symlink()]
    files = {
        f"{folder.name}/{path.relative_to(folder.resolve())}"
        for folder in linked
        for path in folder.resolve().rglob("*")
        if path.suffix in {".py", ".sh", ".css", ".js", ".svg", ".json", ".yml"}
    }
    return {f"pylon/{name}" for name in own | files}


def test_wheel_holds_pylon_and_its_metadata_and_nothing_else(distributions: Distributions) -> None:
    names = set(contents(distributions.wheel))
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"pylon", "pylon_runner"}
    assert {name for name in names if name.startswith("pylon/")} == modules()
    assert {
        "pylon/py.typed",
        "pylon/monitor/remote/far/script.sh",
        "pylon/recorder/report/page/draw.js",
        "pylon/views/web/static/overview.js",
        "pylon/views/export/shipped/alerts.yml",
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_from_the_source_distribution_equals_the_one_from_the_checkout(
    distributions: Distributions,
) -> None:
    assert contents(distributions.wheel) == contents(distributions.direct)


def test_source_distribution_holds_each_file_once_and_no_link(distributions: Distributions) -> None:
    with tarfile.open(distributions.source) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert {name for name in names if name.startswith("pylon/")} == modules()
    top = {name.partition("/")[0] for name in names}
    assert not top & {path.name for path in (REPOSITORY / "pylon").iterdir() if path.is_symlink()}
    assert {"LICENSE", "README.md", "pyproject.toml"} <= top
