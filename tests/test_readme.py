"""What README shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# What a reader has and the example leaves out.
BEFORE = {"watch_a_run.py": "import time\n\n\ndef train_one_step():\n    time.sleep(0.01)\n\n\n"}
PRINTED = {
    "watch_a_run.py": r"\d+ [\d.]+ [\d.]+ Reading\(value=",
    "watch_scratch.py": r"^\d+ % used$",
}


def examples() -> dict[str, str]:
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    named = (re.match(r"# (\w+\.py)\n", block) for block in blocks)
    return {name[1]: block for name, block in zip(named, blocks, strict=True) if name is not None}


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_example_runs(name: str, tmp_path: Path) -> None:
    shown = examples()
    assert name in shown, "README does not show it any more"
    for file, content in shown.items():
        (tmp_path / file).write_text(BEFORE.get(file, "") + content, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, name],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(PRINTED[name], done.stdout, re.M), done.stdout


def shown_files() -> dict[str, list[str]]:
    """By the path in its first line, the parts of a file that README shows; `# ...` stands between two."""
    blocks = re.findall(r"```python\n# (configs/\S+\.py)\n(.*?)```", README, re.S)
    return {path: re.split(r"^ *# \.\.\.\n", block, flags=re.M) for path, block in blocks}


@pytest.mark.parametrize("path", sorted(shown_files()))
def test_shown_part_of_a_file_is_in_it_word_for_word(path: str) -> None:
    content = (REPOSITORY / path).read_text(encoding="utf-8")
    parts = [part.strip("\n") for part in shown_files()[path]]
    assert len("".join(parts)) > 150
    for part in parts:
        assert part in content


def test_a_monitor_of_ones_own_is_short() -> None:
    assert len(examples()["scratch_monitor.py"].splitlines()) < 30
