"""The language that chooses rows: what it finds, and what it answers to what it cannot read."""

from dataclasses import dataclass

import pytest

from pylon.views.terminal.columns import Column, short, short_time
from pylon.views.terminal.filters import FilterError, parse_filter
from pylon.views.terminal.panes import listings


@dataclass
class Row:
    server: str
    temp: float | None
    mem: float | None
    user: str | None


COLUMNS = (
    Column("server", "Server", 10, lambda row: row.server, aliases=("host",)),
    Column("temp", "Temp", 5, lambda row: row.temp, "celsius"),
    Column("mem", "Memory", 5, lambda row: row.mem, "bytes"),
    Column("user", "User", 5, lambda row: row.user),
)
ROWS = (
    Row("dgx1", 90.0, 20 * 2.0**30, "alice"),
    Row("dgx2", 40.0, 5 * 2.0**30, "bob"),
    Row("box", None, None, None),
    Row("cold", 0.0, 0.0, "Alice"),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["dgx1", "dgx2", "box", "cold"]),
        ("temp>85 & host~=dgx", ["dgx1"]),
        ("temp>85&server~=DGX", ["dgx1"]),
        ("user==alice", ["dgx1", "cold"]),
        ("user=alice | server==box", ["dgx1", "box", "cold"]),
        ("user!=alice", ["dgx2"]),
        ("mem>10G", ["dgx1"]),
        ("mem>=5GiB & mem<=20480M", ["dgx1", "dgx2"]),
        ("mem<1", ["cold"]),
        ("temp==?", ["box"]),
        ("temp!=?", ["dgx1", "dgx2", "cold"]),
        ("temp==0", ["cold"]),
        ("temp!=0", ["dgx1", "dgx2"]),
        ("!(temp>50)", ["dgx2", "box", "cold"]),
        ("!dgx", ["box", "cold"]),
        ("dgx", ["dgx1", "dgx2"]),
        ('server=="dgx1"', ["dgx1"]),
        ("server==dgx1 | server==dgx2 & temp>50", ["dgx1"]),
        ("(server==dgx1 | server==dgx2) & temp<50", ["dgx2"]),
        ("temp<9e1", ["dgx2", "cold"]),
    ],
)
def test_what_a_filter_chooses(text: str, found: list[str]) -> None:
    fits = parse_filter(text, COLUMNS)
    assert [row.server for row in ROWS if fits(row)] == found


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("tmp>85", 0, "there are: server, temp, mem, user"),
        ("temp>85 & tmp>1", 10, "no column 'tmp'"),
        ("temp>hot", 5, "expected a number for temp"),
        ("mem>3 parsecs", 6, "expected & or |"),
        ("server<5", 7, "server is text"),
        ("temp>", 5, "expected a value"),
        ("(temp>1", 0, "( without its )"),
        ("temp>1)", 6, "expected & or |"),
        ("& temp>1", 0, "expected a column or a word"),
        ('server=="dgx', 8, "without its second"),
        ("(" * 60, 50, "more than 50"),
        ("!" * 2000, 1000, "at most"),
    ],
)
def test_a_filter_that_cannot_be_read_names_the_place(text: str, place: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text, COLUMNS)
    assert caught.value.place == place
    assert words in str(caught.value)
    assert f"character {place + 1}" in str(caught.value)


def test_names_of_columns_are_unique_and_can_be_written_in_a_filter() -> None:
    for listing in listings().values():
        names = [name for column in listing.columns for name in (column.name, *column.aliases)]
        assert len(names) == len(set(names)), listing.title
        for name in names:
            parse_filter(f"{name}==1", listing.columns)
        assert [column.width for column in listing.columns].count(0) == 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "percent", "?"),
        (85.4, "percent", "85%"),
        (12.3 * 2**30, "bytes", "12.3G"),
        (0.0, "bytes", "0B"),
        (2.0**21, "bytes_per_second", "2.0M/s"),
        (float("nan"), "", "nan"),
        (0.1234, "", "0.1234"),
        (1.7e9, "hertz", "1700MHz"),
        (0.32, "seconds", "320 ms"),
        (64.6, "celsius", "65C"),
    ],
)
def test_short_values(value: float | None, unit: str, text: str) -> None:
    assert short(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (0.4, "0 s"), (59.6, "1m00s"), (3960, "1h06m"), (270000, "3d03h")]
)
def test_short_times(seconds: float | None, text: str) -> None:
    assert short_time(seconds) == text
