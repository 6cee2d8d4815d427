import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.samples import write_air_change


@pytest.fixture(scope="session")
def air_change_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in AirChange's layout; not to be written to."""
    root = tmp_path_factory.mktemp("air_change")
    write_air_change(root)
    return root


@pytest.fixture
def air_change_copy(air_change_root: Path, tmp_path: Path) -> Path:
    """The same, to delete and replace files in; they are linked, so none may be written into."""
    copy = tmp_path / "air_change"
    for path in sorted(air_change_root.rglob("*")):
        target = copy / path.relative_to(air_change_root)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return copy


@pytest.fixture
def replace() -> Callable[[Path, bytes], None]:
    def do(path: Path, content: bytes) -> None:
        path.unlink()
        path.write_bytes(content)

    return do
