"""What a browser gets: all at first, then what changed, and never what others want it to run."""

import dataclasses
import json
import os
import platform
import re
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import Absence
from pylon.recorder.channel import start_ticks
from pylon.recorder.endings import boot_id
from pylon.recorder.history import open_history
from tests.monitor.statuses import cpu, gpu, gpus, seen
from tests.recorder.synthetic import Run, write_history
from tests.views.web.conftest import MadeUp, Server, eventually, fleet


def events(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.decode().split("\n") if line.startswith("data: ")]


def read_frame(client: Any) -> dict[str, Any]:
    text = b""
    while not (text.endswith(b"\n\n") and b"data: " in text):
        text += client.recv(65536)
    return events(text)[-1]


def test_the_first_frame_is_whole_and_the_next_has_what_changed(served: Server) -> None:
    shown = fleet(3)
    server = served(shown=shown)
    with server.connected() as client:
        client.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        first = read_frame(client)
        assert first["head"]["whole"]
        assert set(first["parts"]) == {"s0", "s1", "s2", "all"}
        shown.cpu["gpu1"] = seen(cpu(99.0))
        server.reader.take()
        second = read_frame(client)
    assert not second["head"]["whole"]
    assert set(second["parts"]) == {"s1"}
    assert second["parts"]["s1"]["figures"]["cpu_utilization"] == 99
    assert second["head"]["missed"] == 0


def test_a_browser_of_an_earlier_server_gets_everything(served: Server) -> None:
    server = served()
    for known in (1, server.reader.picture.number - 1000, server.reader.picture.number + 1000):
        with server.connected() as client:
            ask = f"GET /events HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: {known}\r\n\r\n"
            client.sendall(ask.encode())
            assert read_frame(client)["head"]["whole"], known


def test_pictures_while_no_stream_was_open_are_not_missed(served: Server) -> None:
    server = served()
    known = server.reader.picture.number
    for _ in range(3):
        server.reader.take()
    with server.connected() as client:
        client.sendall(f"GET /events?known={known} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        frame = read_frame(client)
    assert not frame["head"]["whole"]
    assert frame["head"]["missed"] == 0


def test_a_picture_that_cannot_be_taken_is_named_in_the_next(served: Server) -> None:
    shown = fleet()
    server = served(shown=shown, every_s=0.02)
    working, shown.cpu["gpu0"] = shown.cpu["gpu0"], "no observation"  # type: ignore[assignment]
    number = server.reader.picture.number
    assert eventually(lambda: server.reader._picture_problem != "")
    assert server.reader.picture.number <= number + 1
    shown.cpu["gpu0"] = working
    assert eventually(lambda: "no picture at" in server.reader.picture.parts["all"])
    assert server.get("/").status == 200


def test_what_is_gone_is_named(served: Server, evil_run: Path) -> None:
    server = served(paths=(evil_run,))
    before = server.reader.picture
    records = server.reader._records
    records._runs = dataclasses.replace(records.runs, runs=())
    server.reader.take()
    frame = json.loads(server.reader.picture.frame(before.number))
    assert frame["head"]["gone"] == ["r1"]
    assert frame["parts"]["all"]["runs"] == []


def test_what_is_not_known_has_its_reason_and_never_a_number(served: Server) -> None:
    shown = fleet()
    shown.cpu["gpu0"] = seen(cpu(), age_s=99.0, trouble=Absence.UNREACHABLE)
    shown.gpu["gpu0"] = seen(gpus(gpu()), age_s=99.0, trouble=Absence.HUNG)
    server = served(shown=shown)
    part = json.loads(server.reader.picture.parts["s0"])
    assert set(part["figures"].values()) == {"unreachable"}
    assert set(part["gpus"][0]) == {"hung"}
    assert not part["ok"]
    head = json.loads(server.get("/api/server/0").body)
    assert "<em>unreachable</em>" in head["tail"]
    assert re.search(r"gpu_temperature</th><td><em>hung</em></td>", head["tail"])


def test_names_of_others_stay_text_and_control_nothing(served: Server, evil_run: Path) -> None:
    server = served(paths=(evil_run,), commands=True)
    record = json.loads(server.get("/api/server/0").body)
    assert "&lt;img src=x" in record["tail"], "the process is shown"
    texts = [server.get(path).text for path in ("/", "/run/1", "/server/0")]
    for name in ("/api/run/1", "/api/server/0"):
        found = json.loads(server.get(name).body)
        texts += [found["head"], found["tail"]]
    for text in texts:
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "\x1b" not in text
    for part in server.reader.picture.parts.values():
        assert "\\u001b" not in part
        assert "\\u2028" not in part


def test_command_lines_are_shown_where_they_are_asked_for(served: Server, evil_run: Path) -> None:
    plain, asked = served(paths=(evil_run,)), served(paths=(evil_run,), commands=True)
    for path, word in (("/api/server/0", "train &lt;img"), ("/api/run/1", "<dt>command</dt>")):
        hidden, shown = (json.loads(one.get(path).body) for one in (plain, asked))
        assert word not in hidden["head"] + hidden["tail"], path
        assert word in shown["head"] + shown["tail"], path


def test_page_of_a_run_that_goes_on_asks_for_no_command(served: Server, tmp_path: Path) -> None:
    own = (os.getpid(), start_ticks(os.getpid()) or 0)
    run = Run(seconds=20, cause=None, host=platform.node(), boot_id=boot_id(), process=own)
    server = served(paths=(write_history(tmp_path / "history.sqlite", run),))
    assert server.reader.picture.runs[1].state == "running"
    head = json.loads(server.get("/api/run/1").body)["head"]
    assert "This page shows newer figures" in head
    assert "Repeat this command" not in head


def test_no_name_or_number_is_part_of_a_question_to_a_record(served: Server, evil_run: Path) -> None:
    server = served(paths=(evil_run,))
    for path in ("/api/run/1;DROP%20TABLE%20launch", "/api/compare?run=1%20OR%201=1&run=2", "/api/run/'--"):
        assert server.get(path).status in {400, 404}, path
    assert server.get("/api/run/1").status == 200
    with open_history(evil_run) as history:
        assert len(history.launches()) == 1


def test_comparison_needs_two_runs_that_are_known(served: Server, evil_run: Path) -> None:
    server = served(paths=(evil_run,))
    assert server.get("/compare?run=1").status == 400
    assert server.get("/compare?run=1&run=7").status == 404
    assert server.get("/api/compare").status == 400


def test_a_record_that_hangs_stops_one_answer_and_nothing_else(
    served: Server, evil_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pylon.views.web import app
    from pylon.views.web.connections import Limits

    server = served(paths=(evil_run,), limits=Limits(answer_s=0.2))
    release, asked = threading.Event(), threading.Event()

    def hang(path: Path, *, commands: bool) -> bytes:
        asked.set()
        release.wait(10.0)
        return b"{}"

    monkeypatch.setattr(app, "run_answer", hang)
    try:
        assert server.get("/api/run/1").status == 504
        assert asked.is_set()
        assert server.get("/api/server/0").status == 200
        assert server.get("/").status == 200
    finally:
        release.set()


def test_memory_is_flat_over_many_pictures() -> None:
    from pylon.views.web.reading import Reader

    shown = fleet(2)
    reader = Reader(MadeUp(shown), list(shown.cpu), (), 1.0)  # type: ignore[arg-type]

    def pictures(count: int) -> int:
        for number in range(count):
            shown.cpu["gpu0"] = seen(cpu(number % 100))
            reader.take()
            reader.picture.frame(reader.picture.number - 1)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        # The trails are full after 300.
        first = pictures(310)
        second = pictures(200)
    finally:
        tracemalloc.stop()
    assert second - first < 200_000


def test_an_answer_that_fails_has_its_reason_and_all_headers(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pylon.views.web import app

    def fail(*_: object) -> None:
        raise ValueError("\x1b[2Jbroken")

    monkeypatch.setattr(app, "server_charts", fail)
    server = served()
    reply = server.get("/api/server/0")
    assert (reply.status, reply.text) == (500, "500 Internal Server Error: ValueError: ?[2Jbroken\n")
    assert reply.header("content-security-policy") is not None
    assert server.get("/").status == 200


def test_a_record_that_is_gone_is_named(served: Server, tmp_path: Path) -> None:
    path = write_history(tmp_path / "history.sqlite", Run(seconds=20))
    server = served(paths=(path,))
    path.unlink()
    reply = server.get("/api/run/1")
    assert reply.status == 422
    assert "history.sqlite" in reply.text


def test_ready_when_there_is_something_to_show(served: Server) -> None:
    assert served().get("/-/ready").status == 200


def test_other_texts_have_a_route(served: Server) -> None:
    server = served(
        texts={"/metrics": lambda picture, accept: (f"{picture.number} {accept}".encode(), "text/x")}
    )
    reply = server.get("/metrics", Accept="a/b")
    assert reply.text == f"{server.reader.picture.number} a/b"
    assert reply.header("content-type") == "text/x"
