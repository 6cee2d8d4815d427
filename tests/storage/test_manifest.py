import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pylon.storage import DamagedFileError, describe_file, verify_manifest, write_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in ("weights.pt", "losses.pt"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    path = tmp_path / "weights.manifest.json"
    write_manifest(path, {name: describe_file(tmp_path / name) for name in ("weights.pt", "losses.pt")})
    return path


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_sound_files_pass(manifest: Path) -> None:
    verify_manifest(manifest)


@pytest.mark.parametrize(
    ("hurt", "said"),
    [
        (flip_one_bit, "SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes()[:10]), "has 10 bytes"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "bytes, its manifest has"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
    ids=["one bit", "cut", "longer", "gone"],
)
@pytest.mark.parametrize("name", ["weights.pt", "losses.pt"])
def test_damaged_file_is_named(manifest: Path, name: str, hurt: Callable[[Path], object], said: str) -> None:
    hurt(manifest.with_name(name))
    with pytest.raises(DamagedFileError, match=f"{name}: .*{said}"):
        verify_manifest(manifest)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"format": 1, "files": {"a": 3}}', '{"format": 9, "files": {}}', "[" * 10**5),
        *(
            f'{{"format": 1, "files": {{"{name}": {{"bytes": 1, "sha256": "a"}}}}}}'
            for name in ("../a.pt", "", "..", "/etc/passwd", "a\\u0000b")
        ),
    ],
)
def test_manifest_that_is_none_is_damage_not_a_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.manifest.json"
    path.write_text(text)
    with pytest.raises(DamagedFileError, match=r"a\.manifest\.json"):
        verify_manifest(path)


def test_one_file_alone_can_be_asked_for(manifest: Path) -> None:
    manifest.with_name("losses.pt").unlink()
    verify_manifest(manifest, only="weights.pt")
    with pytest.raises(DamagedFileError, match="is no manifest"):
        verify_manifest(manifest, only="absent.pt")


def test_absent_manifest_is_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify_manifest(tmp_path / "a.manifest.json")


def test_manifest_is_json_for_other_tools(manifest: Path) -> None:
    assert json.loads(manifest.read_text())["files"]["weights.pt"]["bytes"] == 10_000
