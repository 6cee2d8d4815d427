"""TAB in real shells: `pylon --completion SHELL` completes commands, options, choices and files."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from pylon.completion import SCRIPTS, candidates

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
WITHIN_S = 20
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LOADED = {
    "bash": 'PS1="ready> "; bind "set enable-bracketed-paste off"; eval "$(pylon --completion bash)"',
    "zsh": 'PS1="ready> "; unsetopt zle_bracketed_paste; eval "$(pylon --completion zsh)"',
    "fish": 'function fish_prompt; printf "ready> "; end; pylon --completion fish | source',
}

Press = Callable[[str], str]


@pytest.fixture(params=sorted(SCRIPTS))
def press(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Press]:
    """Types a line and TAB, ends it with Enter, and gives back the words that the command received."""
    shell = request.param
    if shutil.which(shell) is None:
        if os.environ.get("PYLON_REQUIRE_SHELLS") == "1":
            pytest.fail(f"{shell} is not installed")
        pytest.skip(f"{shell} is not installed")
    record = tmp_path / "record"
    program = tmp_path / "bin" / "pylon"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$1" in __complete|--completion) ;; '
        f'*) printf "<%s>" "$@" >"{record}.new"; mv "{record}.new" "{record}"; exit;; esac\n'
        f'PYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m pylon "$@"\n'
    )
    program.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "first run.py").write_text("")
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
    }
    command, *arguments = SHELLS[shell]
    terminal = pexpect.spawn(
        command, arguments, cwd=folder, env=environment, timeout=WITHIN_S, encoding="utf-8"
    )
    terminal.sendline(LOADED[shell])
    terminal.sendline("echo loaded''-now")
    terminal.expect("loaded-now")

    def press_tab(line: str) -> str:
        terminal.send(f"{line}\t")
        # What TAB has added ends with a blank or a quote; the answer comes before Enter is read.
        terminal.send("\r")
        for _ in range(WITHIN_S * 20):
            if record.exists():
                return record.read_text()
            terminal.expect([pexpect.TIMEOUT, ".+"], timeout=0.05)
        pytest.fail(f"the command was not run; the terminal shows {terminal.before!r}")

    yield press_tab
    terminal.close(force=True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pylon tr", "<train>"),
        ("pylon once --no-g", "<once><--no-gpu>"),
        ("pylon watch --host-keys acc", "<watch><--host-keys><accept-new>"),
        ("pylon train --config-filepath fi", "<train><--config-filepath><first run.py>"),
    ],
)
def test_tab_completes(press: Press, line: str, words: str) -> None:
    assert press(line) == words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"train", "once"}),
        (["--ver"], {"--version"}),
        (["--completion", "b"], {"bash"}),
        (["absent", ""], set()),
        (["train", "--config-filepath", ""], set()),
        (["train", "--config-filepath", "a.py", "b"], set()),
        (["train", "--config-filepath", "a.py", "--de"], {"--debug", "--device"}),
        (["new", ""], {"--kind"}),
        (["new", "mine", "--kind", "t"], {"tabular", "text", "two-models"}),
        (["once", "--json", ""], {"--no-gpu", "--server"}),
        (["once", "--timeout-s", "3", "--js"], {"--json"}),
    ],
)
def test_candidates(words: list[str], expected: set[str]) -> None:
    found = candidates(words)
    assert expected <= set(found)
    assert bool(found) == bool(expected)


def test_what_is_not_for_people_is_not_offered() -> None:
    assert "--outcome-file" not in candidates(["train", "--"])
    assert not [word for word in candidates([""]) if word.startswith("_")]
