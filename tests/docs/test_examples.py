"""What README and docs/ show runs as it is shown, and what they name exists."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pylon.command import COMMANDS, parser_of
from tests.faults.harness import without_late_readings

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
CHANGELOG = REPOSITORY / "CHANGELOG.md"
PAGES = sorted([*(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "docs/examples").glob("*.md")])
# What a reader has and the example leaves out.
TRAIN = [
    *("-m", "pylon", "train", "--device", "cpu", "--work-dir", "runs/discs", "--config-filepath"),
    str(REPOSITORY / "configs/examples/own_classes.py"),
    *("--set", "epochs=1", "train_dataloader.args.num_workers=0"),
]
BEFORE = {
    "watch_a_run.py": "import time\n\n\ndef train_one_step():\n    time.sleep(0.01)\n\n\n"
    "def log_dict(numbers):\n    assert all(value + 0 == value for value in numbers.values())\n\n\n",
    "read_record.py": "from pathlib import Path\n"
    "from pylon.recorder.history import EndingRow, HistoryWriter, LaunchRow\n"
    "Path('runs/first').mkdir(parents=True)\n"
    "with HistoryWriter(Path('runs/first/history.sqlite')) as writer:\n"
    "    number = writer.begin(LaunchRow(1.0, 'runner', name='night'))\n"
    "    writer.end(EndingRow(number, 2.0, 'killed', 'sigkill', 'confirmed', 'kernel'))\n",
    "use_a_model.py": "import subprocess, sys\n"
    f"subprocess.run([sys.executable, *{TRAIN!r}], check=True, capture_output=True)\n",
}
PRINTED = {
    "read_record.py": r"^night killed: sigkill$",
    "watch.py": r"^\d+ [\d.]+ Reading\(value=\d+",
    "watch_a_run.py": r"(?m)^\d+ cpu \d+ %, memory [\d.]+/[\d.]+ GiB, run [\d.]+ GiB",
    "watch_scratch.py": r"^\d+ % used$",
    "read_pairs.py": r"^2 torch.Size\(\[3, 32, 32\]\) torch.Size\(\[32, 32\]\)$",
    "colours.py": "",
    "judged.py": "",
    "loop.py": "^trained$",
    "ordered.py": "",
    "in_turns.py": "",
    "use_a_model.py": r"^\(1, 2, 24, 24\)$",
}
# Commands at the head of a page that take longer than a test may, or need another machine.
ELSEWHERE = {
    "benchmarks.md": "tests/benchmarks runs these benchmarks in their quick form",
    "changes.md": "make test is what runs this test",
    "determinism.md": "tests/shutdown/test_resume.py runs this script",
    "gpu-check.md": "tests/gpu runs these parts on the CPU and on a stand-in for the driver",
    "loggers.md": "tests/views/loggers/test_services.py runs these commands where the logger is installed",
    "fleet.md": "tests/monitor/cli/test_fleet.py runs these commands against real servers",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def examples() -> dict[str, str]:
    """Python examples by the file name in their first line."""
    found = {}
    for page in [README, *PAGES]:
        for block in blocks(page, "python"):
            name = re.match(r"# (\w+\.py)\b", block)
            if name is not None:
                found[name[1]] = block
    return found


def environment(folder: Path) -> dict[str, str]:
    """As a shell has it in which `pylon` is installed, with `python` and `pylon` of this environment."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, command in (("python", ""), ("pylon", "-m pylon"), ("torchrun", "-m torch.distributed.run")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        (tools / name).chmod(0o755)
    return {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }


def write_levir(root: Path) -> None:
    """Two pairs of 32 x 32 pixels in each split."""
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for part in ("A", "B", "label"):
            (root / split / part).mkdir(parents=True)
            for number in range(2):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                mask = np.zeros((32, 32), np.uint8)
                mask[8:16, 8:24] = 255
                image = Image.fromarray(mask if part == "label" else pixels)
                image.save(root / split / part / f"{number}.png")


def run(command: list[str], folder: Path, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.ci
@pytest.mark.parametrize("name", sorted(PRINTED))
def test_python_example_runs(name: str, tmp_path: Path) -> None:
    shown = examples()
    assert name in shown, "no page shows it any more"
    for file, content in shown.items():
        (tmp_path / file).write_text(BEFORE.get(file, "") + content, encoding="utf-8")
    write_levir(tmp_path / "datasets/levir_cd")
    done = run([sys.executable, name], tmp_path)
    assert done.returncode == 0, done.stderr
    assert without_late_readings(done.stderr) == ""
    assert re.search(PRINTED[name], done.stdout, re.M), done.stdout


@pytest.mark.ci
@pytest.mark.parametrize("name", ["mine", "rows"])
def test_configuration_that_is_shown_trains(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text(examples()[f"{name}.py"], encoding="utf-8")
    write_levir(tmp_path / "datasets/levir_cd")
    done = run([sys.executable, "-m", "pylon", "train", "--config-filepath", f"{name}.py"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / f"logs/{name}/test/test_results.json").exists()


def first_example(page: Path) -> tuple[str, str]:
    """Language and text of the first block of a page."""
    found = re.search(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert found is not None, f"{page.name} begins without an example"
    return found[1], found[2]


@pytest.mark.ci
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_begins_with_an_example_that_runs(page: Path, tmp_path: Path) -> None:
    language, text = first_example(page)
    if language == "python":
        name = re.match(r"# (\S+)", text)
        assert name is not None
        assert name[1] in PRINTED or (REPOSITORY / name[1]).exists() or page.name in ELSEWHERE
        return
    if page.name in ELSEWHERE:
        return
    for folder in ("configs", "main.py"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    script = "\n".join(line.partition(" #")[0] for line in text.splitlines())
    done = run(["bash", "-c", script], tmp_path)
    assert done.returncode in {0, 75}, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for shown in blocks(page, "text") if page.parent.name == "examples" else []:
        assert_prints(shown, done.stdout)


NUMBER = r"\d+(?:[.,]\d+)*"


def assert_prints(shown: str, printed: str) -> None:
    """A page shows a run's output: all words, and the scores of the test as near as other processors come."""
    pattern = re.sub(r"(?:\\\.){3}(?:\\\n)?", ".*?", re.escape(shown.replace(" (best)", "")))
    pattern = re.sub(r"\d+(?:(?:\\\.|,)\d+)*", lambda _: NUMBER, pattern)
    # Monitors report their first reading at any time.
    without_monitors = re.sub(r"^[\d:]+ INFO monitor .*\n", "", printed, flags=re.M)
    text = re.sub(r"^[\d:]+ ", "", without_monitors.replace(" (best)", ""), flags=re.M)
    found = re.search(pattern, text, re.S)
    assert found is not None, f"expected\n{shown}\nprinted\n{printed}"
    scores = re.findall(NUMBER, re.findall(r"^INFO test .*", shown, re.M)[0])
    of_run = re.findall(NUMBER, re.findall(r"^INFO test .*", text, re.M)[0])
    score, baseline = (float(number) for number in scores)
    assert [float(number) for number in of_run] == pytest.approx(
        [score, baseline], abs=0.1 * abs(score - baseline)
    )


def test_output_that_is_no_longer_printed_is_noticed() -> None:
    shown = "INFO epoch 1/2: loss 2.5, 0.3 s; ...\n...\nINFO test error: 1.0 (baselines: mean 6.0)\n"
    printed = "10:00:00 INFO epoch 1/2: loss 2.4, 1.2 s; and so on\n10:00:01 INFO more\n"
    assert_prints(shown, printed + "10:00:02 INFO test error: 1.1 (baselines: mean 6.0)\n")
    for other in ("test error: 3.0 (baselines: mean 6.0)", "test error: 1.0 (mean 6.0)"):
        with pytest.raises(AssertionError):
            assert_prints(shown, f"{printed}10:00:02 INFO {other}\n")


def shown_files() -> dict[str, list[str]]:
    """By the path in its first line, the parts of a file that a page shows; `# ...` is between two."""
    found: dict[str, list[str]] = {}
    for page in [README, *PAGES]:
        text = page.read_text(encoding="utf-8")
        for path, block in re.findall(r"```python\n# (configs/\S+\.py)\n(.*?)```", text, re.S):
            found[path] = re.split(r"^ *# \.\.\.\n", block, flags=re.M)
    return found


@pytest.mark.parametrize("path", sorted(shown_files()))
def test_shown_part_of_a_file_is_in_it_word_for_word(path: str) -> None:
    content = (REPOSITORY / path).read_text(encoding="utf-8")
    parts = [part.strip("\n") for part in shown_files()[path]]
    assert len("".join(parts)) > 150
    for part in parts:
        assert part in content


def test_readme_is_an_entrance() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    assert len(examples()["mine.py"].splitlines()) <= 25
    assert len(examples()["watch.py"].splitlines()) <= 14


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(
        r"`((?:configs|data|criteria|metrics|models|monitor|runners|pylon|tests)/[\w./]*)`", text
    )
    missing += [name for name in named if not (REPOSITORY / name).exists()]
    assert missing == []


def test_lines_fit_a_terminal() -> None:
    long = [
        f"{page.name}: {number}"
        for page in [README, CHANGELOG, *PAGES]
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > 110 and not line.startswith("|")
    ]
    assert long == []


def test_a_monitor_of_ones_own_is_short() -> None:
    assert len(examples()["scratch_monitor.py"].splitlines()) < 30


def section(page: str, heading: str) -> str:
    """What is below a heading of a page, up to the next one of the same or a higher level."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return re.split(r"^##? ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def exit_codes(text: str) -> set[str]:
    return set(re.findall(r"^ +(\d[\d+N]*) ", text, re.M))


def options_of(command: str) -> set[str]:
    actions = parser_of(command)._actions
    shown = [action for action in actions if action.help != argparse.SUPPRESS]
    return {name for action in shown for name in action.option_strings if name.startswith("--")} - {"--help"}


def test_exit_codes_of_the_page_are_those_of_train() -> None:
    shown = re.findall(r"^\| (\d[\d+N]*) \|", section("command-line.md", "Exit codes of `pylon train`"), re.M)
    assert sorted(shown) == sorted(exit_codes(parser_of("train").epilog or ""))


@pytest.mark.parametrize("command", ["once", "watch", "free"])
def test_exit_codes_of_the_page_are_those_of_the_monitors_commands(command: str) -> None:
    rows = re.findall(r"^\| ((?:\d+(?:, )?)+) \|", (REPOSITORY / "docs/fleet.md").read_text("utf-8"), re.M)
    shown = {code for row in rows for code in row.split(", ")}
    epilog = parser_of(command).epilog or ""
    assert shown == exit_codes(epilog) | set(re.findall(r"\((\d+): SIG", epilog))


def test_options_of_the_page_are_those_of_train() -> None:
    listed = section("command-line.md", "pylon train")
    assert set(re.findall(r"^- `(--[a-z-]+)", listed, re.M)) == options_of("train")


@pytest.mark.parametrize("command", ["once", "watch", "free"])
def test_options_of_the_page_are_those_of_the_monitors_commands(command: str) -> None:
    rows = re.findall(
        r"^\| `(--[a-z-]+)[^`]*` \| ([^|]*) \|", section("command-line.md", "pylon once, watch, free"), re.M
    )
    shown = {option for option, commands in rows if commands == "all" or command in commands.split(", ")}
    assert shown == options_of(command)


def test_options_of_the_page_are_those_of_serve() -> None:
    page = (REPOSITORY / "docs/serve.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`--[^|]*) \|", page, re.M)
    assert {option for row in rows for option in re.findall(r"`(--[a-z-]+)", row)} == options_of("serve")


def test_page_names_every_command() -> None:
    page = (REPOSITORY / "docs/command-line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `pylon (\w+)` \|", page, re.M)) == set(COMMANDS)


def test_page_has_the_options_kinds_and_exit_codes_of_new() -> None:
    parser, page = parser_of("new"), section("command-line.md", "pylon new")
    assert set(re.findall(r"`(--[a-z-]+)` \|", page)) == options_of("new")
    (kinds,) = (action.choices for action in parser._actions if action.dest == "kind")
    shown = re.findall(r"^\| `([a-z-]+)`.*\| \[.*\]\((\S+)\) \|", page, re.M)
    assert [kind for kind, _ in shown] == list(kinds or ())
    assert set(re.findall(r"\b(\d) ", page.split("Exit codes:")[1])) == exit_codes(parser.epilog or "")
    readme = README.read_text(encoding="utf-8")
    assert all(kind in readme for kind in kinds or () if kind != parser.get_default("kind"))
