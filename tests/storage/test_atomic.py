import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pylon.storage import atomic_path, replace_link, write_json, write_text


def test_exception_while_writing_keeps_the_former_file_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="writer failed"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("writer failed")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_temporary_keeps_the_suffix_that_writers_choose_their_format_by(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "deep" / "curves.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "deep"
    assert (tmp_path / "deep" / "curves.png").exists()


def test_nan_is_refused_and_the_former_json_survives(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    write_json(target, {"f1": 0.5})
    with pytest.raises(ValueError, match="nan"):
        write_json(target, {"f1": float("nan")})
    assert json.loads(target.read_text()) == {"f1": 0.5}


def test_new_file_is_readable_by_the_group_as_the_umask_says(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    code = f"import os; from pylon import storage; os.umask(0o027); storage.write_text({path!r}, 'x')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_sigkill_between_write_and_rename_keeps_the_former_file(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    write_text(target, "old")
    code = (
        "import os, signal; from pylon import storage\n"
        f"with storage.atomic_path({str(target)!r}) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2, "the kill must have struck while a temporary stood there"


def test_folder_that_is_a_file_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(OSError, match="runs"):
        write_text(tmp_path / "runs" / "a", "x")


def test_link_is_replaced_also_when_it_dangles_or_has_spaces(tmp_path: Path) -> None:
    link = tmp_path / "best model; rm.pt"
    replace_link(link, "epoch 1/gone.pt")
    (tmp_path / "new.pt").write_text("weights")
    replace_link(link, "new.pt")
    assert link.is_symlink()
    assert link.read_text() == "weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best model; rm.pt", "new.pt"]


def test_json_has_one_line_for_a_list_of_plain_values_and_is_otherwise_indented(tmp_path: Path) -> None:
    content = {"a": [0.1, None, "x"], "b": [{"c": 1}, []], "d": {}, 3: (1, 2), "e": [[1], 2]}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(content))
    assert text.splitlines()[1:4] == ['  "a": [0.1, null, "x"],', '  "b": [', "    {"]
    assert '  "3": [1, 2],' in text
