"""Alerts reach the record, the log and the outside; nothing waits, retries without end or shows a secret."""

import contextlib
import json
import logging
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pylon.recorder.alerts import AlertBook, Alerts, Notifier, NotifyError, destination, webhook
from pylon.recorder.alerts import notifier as module
from pylon.recorder.history import EndingRow, HistoryWriter, LaunchRow, MarkRow, open_history

T = 1_790_000_000.0
SECRET = "T0P-SECRET"


class Server(ThreadingHTTPServer):
    """Answers with the next of `statuses`, the last one from then on."""

    daemon_threads = True

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.arrived = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/{SECRET}?key={SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.server.statuses[0] if len(self.server.statuses) == 1 else self.server.statuses.pop(0)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/internal")
        self.end_headers()
        if 200 <= status < 300:
            self.server.arrived.set()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[list[int]], Server]]:
    with contextlib.ExitStack() as stack:

        def start(statuses: list[int]) -> Server:
            server = Server(statuses)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield start


def test_message_arrives_with_its_facts(serve: Callable[[list[int]], Server]) -> None:
    server = serve([204])
    notifier = Notifier([server.url], "night on host", {"run": "night"}, merge_s=0.0)
    notifier.send("stuck (critical): No step for 61 s.")
    assert server.arrived.wait(10)
    assert notifier.close(10)
    (body,) = server.bodies
    assert (body["title"], body["text"], body["run"]) == (
        "night on host",
        "stuck (critical): No step for 61 s.",
        "night",
    )
    assert server.paths == [f"/hooks/{SECRET}?key={SECRET}"]


def test_message_arrives_where_no_thread_can_be_started_any_more(
    serve: Callable[[list[int]], Server],
    no_room_for_threads: Callable[..., contextlib.AbstractContextManager[None]],
) -> None:
    server = serve([204])
    with no_room_for_threads(threading.Timer):  # the server's own threads still start
        webhook.Webhook(server.url).send("a", "b", {})
    assert server.arrived.wait(10)


def test_messages_of_one_moment_are_one(serve: Callable[[list[int]], Server]) -> None:
    server = serve([200])
    notifier = Notifier([server.url], "night", merge_s=60.0)
    for text in ("one", "two", "three"):
        notifier.send(text)
    assert notifier.close(10), "the end of the recorder waits for no others"
    assert [body["text"] for body in server.bodies] == ["one\ntwo\nthree"]


@pytest.mark.parametrize(
    ("statuses", "attempts"),
    [([500, 503, 200], 3), ([429, 200], 2), ([500], 4), ([404], 1), ([302], 1), ([401], 1)],
)
def test_what_may_pass_is_tried_again_a_few_times(
    serve: Callable[[list[int]], Server],
    statuses: list[int],
    attempts: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve(list(statuses))
    notifier = Notifier([server.url], "night", retry_s=(0.0, 0.0, 0.0), merge_s=0.0)
    with caplog.at_level(logging.DEBUG):
        notifier.send("stuck")
        notifier._lines[0]._changed.acquire()
        notifier._lines[0]._changed.wait_for(lambda: notifier._lines[0]._idle, 10)
        notifier._lines[0]._changed.release()
        assert notifier.close(10)
    assert len(server.bodies) == attempts
    assert {path.split("?")[0] for path in server.paths} == {f"/hooks/{SECRET}"}, "no redirect is followed"
    assert ("did not take a message" in caplog.text) == (200 not in statuses)
    assert SECRET not in caplog.text


def test_server_that_answers_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_ATTEMPT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(webhook.DeliveryError):
            webhook.Webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/").send("a", "b", {})
        assert time.monotonic() - begun < 5
        stop.set()
        thread.join()


def test_nothing_waits_for_an_address_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}"
        notifier = Notifier([url], "night", merge_s=0.0)
        begun = time.monotonic()
        for number in range(10_000):
            notifier.send(f"message {number}")
        assert not notifier.close(0.2)
        assert time.monotonic() - begun < 2
    assert len(notifier._lines[0]._waiting) <= module._MOST_WAITING
    assert SECRET not in caplog.text


def test_address_that_does_not_answer_keeps_no_message_from_the_others(
    serve: Callable[[list[int]], Server],
) -> None:
    server = serve([200])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        notifier = Notifier([silent, server.url], "night")
        notifier.send("died")
        begun = time.monotonic()
        assert not notifier.close(0.5)
        assert time.monotonic() - begun < 2
        assert server.arrived.wait(2.0)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("night", "expected an address such as https://HOST/PATH"),
        (f"http:///{SECRET}", "no address of a webhook"),
        (f"https://host:port/{SECRET}", "no valid host and port"),
        (f"https://me:{SECRET}@host/", "has a login"),
        (f"https://host/{SECRET} x", "has blanks"),
        (f"https://host/{SECRET}\r\nX-Injected: 1", "has blanks"),
        (f"slack://{SECRET}/b", "needs the package 'apprise'"),
    ],
)
def test_address_that_cannot_be_used_is_refused_without_its_secrets(
    url: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NotifyError, match=text) as refused:
        Notifier([url], "night")
    assert SECRET.lower() not in str(refused.value).lower()


@pytest.mark.parametrize(
    ("host", "keys"), [("hooks.slack.com", {"text"}), ("discord.com", {"content"}), ("me", {"title", "text"})]
)
def test_forms_of_the_services(host: str, keys: set[str]) -> None:
    assert set(webhook._form(host, "title", "text", {})) == keys


def test_other_addresses_are_sent_by_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str, str]] = []

    class Apprise:
        def add(self, url: str) -> bool:
            self.url = url
            return True

        def notify(self, title: str, body: str) -> bool:
            sent.append((self.url, title, body))
            return True

    monkeypatch.setitem(sys.modules, "apprise", types.SimpleNamespace(Apprise=Apprise, __spec__=object()))
    one = destination("mailto://me:pass@host")
    one.send("night", "stuck", {})
    assert sent == [("mailto://me:pass@host", "night", "stuck")]
    assert "pass" not in one.shown


def test_alert_is_in_the_record_the_log_and_the_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Collected:
        def __init__(self) -> None:
            self.texts: list[str] = []

        def send(self, text: str) -> None:
            self.texts.append(text)

    collected = Collected()
    with HistoryWriter(tmp_path / "history.sqlite") as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        book = AlertBook(Alerts(launch), writer, collected)
        book.alerts.add_mark(MarkRow(launch, T + 60, "hang", '{"for_s": 60.0}'))
        with caplog.at_level(logging.INFO):
            assert [row.rule for row in book.tick(T + 60)] == ["stuck"]
            assert book.tick(T + 61) == []
            book.alerts.ended(EndingRow(launch, T + 120, "killed", "sigkill", "confirmed", "kernel"))
            assert [row.rule for row in book.tick(T + 120)] == ["died"]
        writer.commit()
        with open_history(tmp_path) as history:
            found = [(row.rule, row.since, row.until) for row in history.alerts(launch)]
            marks = [row.kind for row in history.marks(launch)]
    assert found == [("stuck", T + 60, T + 120), ("died", T + 120, T + 120)]
    assert marks == ["alert", "alert_end", "alert"]
    assert "stuck (critical): No step for 60.0 s." in caplog.text
    assert len(collected.texts) == 2, "one message per tick"
    assert "stuck is over after 1 min" in collected.texts[1]
    assert "died (critical)" in collected.texts[1]
