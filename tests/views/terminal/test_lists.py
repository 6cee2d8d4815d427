"""Lists: order, cursor, columns, processes, files that are written, and a layout that is kept."""

import csv
import json
from pathlib import Path

import pytest

from pylon.views.terminal.csv_export import csv_cell, write_csv
from pylon.views.terminal.layout import apply_layout, layout_path, read_layout, save_layout
from pylon.views.terminal.panes import listings, rows_of
from pylon.views.terminal.processes import ProcessLine, in_tree, process_lines
from pylon.views.terminal.text import as_ascii, fitted, knows_unicode
from tests.views.terminal.invented import EVIL, picture, servers

SECRET = "0123456789abcdef"


def text_of(listing, place: int, width: int) -> str:
    return "".join(cell.text for cell in listing.line(place, width))


def test_rows_are_sorted_and_what_is_not_known_is_last_in_either_order() -> None:
    found = listings()["servers"]
    rows = rows_of(picture(6), tree=False)["servers"]
    found.sort = "cpu"
    found.update(rows)
    assert [row.name[-1] for row in found.rows] == ["0", "1", "3", "4", "5", "2"]
    found.reverse = True
    found.update(rows)
    assert [row.name[-1] for row in found.rows] == ["5", "4", "3", "1", "0", "2"]
    assert "CPUv" in found.head(80)[0].text


def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    found = listings()["servers"]
    rows = rows_of(picture(9), tree=False)["servers"]
    found.update(rows)
    found.move(5, 4)
    assert (found.chosen.name, found.top) == ("dgx005", 2)
    found.update(rows[3:])
    assert found.chosen.name == "dgx005"
    found.update(rows[:3])
    assert found.chosen.name == "dgx002"
    found.update([])
    assert found.chosen is None
    found.move(3, 4)


@pytest.mark.parametrize("width", [20, 40, 80, 141, 250, 400])
@pytest.mark.parametrize("name", list(listings()))
def test_no_line_is_wider_than_the_screen(name: str, width: int) -> None:
    found = listings()[name]
    found.update(rows_of(picture(4), tree=True)[name])
    assert found.rows
    assert all(len(text_of(found, place, width)) <= max(width, 30) for place in range(len(found.rows)))


def test_columns_of_a_run_at_80_cells() -> None:
    found = listings()["runs"]
    shown = [column.name for column, _ in found.visible(80)]
    assert shown == ["run", "state", "epoch", "step", "loss", "step_time", "wait", "eta", "verdict"]
    assert "checkpoint" in [column.name for column, _ in found.visible(200)]
    found.toggle("loss", 80)
    found.toggle("checkpoint", 80)
    shown = [column.name for column, _ in found.visible(80)]
    assert "loss" not in shown and "checkpoint" in shown
    found.shift = 3
    assert next(column.name for column, _ in found.visible(80)) == "run", "the first column stays"


def test_secrets_in_command_lines_are_masked_and_control_characters_are_not_shown() -> None:
    lines = process_lines(servers(1))
    assert "--api-key ***" in (lines[0].command or "")
    assert SECRET not in repr(lines)
    for name, found in listings().items():
        found.update(rows_of(picture(2), tree=True)[name])
        hostile = rows_of(type(picture())(servers=servers(2, hostile=True)), tree=True)[name]
        found.update(hostile)
        for place in range(len(found.rows)):
            assert text_of(found, place, 200).isprintable()
    assert not EVIL.isprintable()


def test_processes_in_a_tree() -> None:
    lines = [ProcessLine("s", pid) for pid in (30, 10, 20, 40)]
    parents = {30: 25, 25: 20, 20: 10, 10: 1, 40: 1}
    assert [(line.pid, line.depth) for line in in_tree(lines, parents)] == [
        (10, 0),
        (20, 1),
        (30, 2),
        (40, 0),
    ]
    endless = {10: 20, 20: 10}
    assert {line.pid for line in in_tree(lines[1:2], endless)} == {10}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@x", "'@x"),
        ("  =x", "'  =x"),
        ("dgx", "dgx"),
        ("a\tb\x1b", "a?b?"),
        (None, ""),
        (-5.0, "-5"),
        (0.25, "0.25"),
    ],
)
def test_cells_of_a_csv_file(value: float | str | None, text: str) -> None:
    assert csv_cell(value) == text


def test_a_list_as_csv(tmp_path: Path) -> None:
    found = listings()["servers"]
    found.update(rows_of(picture(4), tree=False)["servers"])
    paths = {write_csv(tmp_path, "servers", found.columns, found.rows) for _ in range(3)}
    assert len(paths) == 3, "no file is written over"
    for path in paths:
        head, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        assert "cpu_percent" in head and "mem_bytes" in head
        assert len(rows) == 4
        unreachable = dict(zip(head, rows[2], strict=True))
        assert (unreachable["state"], unreachable["cpu_percent"]) == ("unreachable", "")
        assert dict(zip(head, rows[0], strict=True))["mem_bytes"] == str(8 * 2**30)


def test_a_layout_is_kept(tmp_path: Path) -> None:
    path = layout_path({"XDG_STATE_HOME": str(tmp_path)})
    assert path == tmp_path / "pylon" / "watch.json"
    assert layout_path({"HOME": "/home/a"}) == Path("/home/a/.local/state/pylon/watch.json")
    before = listings()
    before["gpus"].filter_by("temp>80")
    before["gpus"].sort, before["gpus"].reverse = "temp", True
    before["runs"].toggle("loss", 80)
    save_layout(path, 3, before)
    saved, note = read_layout(path)
    after = listings()
    assert (note, apply_layout(saved, after), saved["pane"]) == ("", [], 3)
    assert (after["gpus"].filter_text, after["gpus"].sort, after["gpus"].reverse) == ("temp>80", "temp", True)
    assert after["runs"].hidden == ("loss",)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"lists": 3}', b"\xff\xfe", b"[" * 100_000, b'{"pane": 1}'], ids=range(7)
)
def test_a_damaged_layout_is_that_of_a_first_start_with_a_note(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "watch.json"
    path.write_bytes(content)
    saved, note = read_layout(path)
    assert saved == {}
    assert str(path) in note
    assert path.read_bytes() == content
    assert read_layout(tmp_path / "absent.json") == ({}, "")


def test_what_a_layout_has_of_other_versions_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "watch.json"
    one = {"filter": "gone>1", "sort": "gone", "reverse": "yes", "hidden": ["gone", 3, "cpu"], "shown": None}
    path.write_text(json.dumps({"pane": 99, "lists": {"servers": one, "gone": one, "runs": 4}}))
    found = listings()
    notes = apply_layout(read_layout(path)[0], found)
    assert len(notes) == 1 and "gone>1" in notes[0]
    servers_list = found["servers"]
    assert (servers_list.sort, servers_list.reverse, servers_list.hidden) == ("", False, ("cpu",))


def test_texts_have_their_width_in_cells() -> None:
    assert fitted("abc", 5) == "abc  "
    assert fitted("abc", 5, right=True) == "  abc"
    assert fitted("abcdef", 4) == "abc…"
    assert fitted("漢字漢字", 5) == "漢字…"
    assert fitted("abc", 0) == ""
    assert as_ascii("5 °C … 漢") == "5 C ~ ?"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "", "LC_CTYPE": "C.utf8", "LANG": "C"}, True),
    ],
)
def test_unicode_by_the_locale(environment: dict[str, str], expected: bool) -> None:
    assert knows_unicode(environment) is expected
