"""The page of `pylon serve`: what a picture, a browser and many watchers cost.

The servers are invented, and their figures change with each picture: all of it is sent again. "watchers" are
streams that are read by one other process; "per picture" is CPU time of the serving process, "of a core" that
every 2 s. The browser is Chromium without a window, "first paint" its first-contentful-paint.
"""

import multiprocessing
import resource
import selectors
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.views.metrics import snapshot_of
from pylon.monitor import Observation, SystemSnapshot
from pylon.views.access import Access, Address
from pylon.views.web.connections import Limits
from pylon.views.web.reading import Reader
from pylon.views.web.server import opened, serving

HEADS = [
    *("servers x GPUs", "watchers", "per picture", "of a core", "resident memory"),
    *("first paint", "browser per picture"),
]
_INTERVAL_S = 2.0
_ASK = b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n"


class _Invented:
    """A monitor whose figures change each time."""

    def __init__(self, snapshot: SystemSnapshot) -> None:
        self._snapshot = snapshot
        self._turn = 0

    def latest(self) -> SystemSnapshot:
        self._turn += 1
        turn, now_s = self._turn, time.monotonic()
        snapshot = self._snapshot
        cpu, gpu = {}, {}
        for name, seen in snapshot.cpu.items():
            sample = replace(seen.status.sample, cpu_percent=float(turn % 100))
            cpu[name] = Observation(replace(seen.status, sample=sample), now_s, 3600.0)
        for name, seen in snapshot.gpu.items():
            cards = tuple(replace(one, utilization_percent=float(turn % 100)) for one in seen.status.gpus)
            gpu[name] = Observation(replace(seen.status, gpus=cards), now_s, 3600.0)
        return SystemSnapshot(turn, cpu, gpu)

    def health(self) -> Mapping[str, Any]:
        return {}


def rows(*, quick: bool) -> list[list[str]]:
    """A row for each number of watchers."""
    servers = 2 if quick else 100
    return [_row(servers, watchers) for watchers in ((0, 2) if quick else (0, 1, 100, 1000))]


def _row(servers: int, watchers: int) -> list[str]:
    _allow_connections()
    pictures = 5
    with ExitStack() as stack:
        snapshot = snapshot_of(servers, 8)
        reader = Reader(_Invented(snapshot), list(snapshot.cpu), (), 3600.0)  # type: ignore[arg-type]
        address = Address.of("127.0.0.1", 0)
        listening = stack.enter_context(opened(address))
        limits = Limits(connections=watchers + 50, streams=watchers + 10)
        server = stack.enter_context(
            serving(listening, Access.of(address, [], None), reader, _INTERVAL_S, limits=limits)
        )
        stack.enter_context(reader)
        port = listening.getsockname()[1]
        here, there = multiprocessing.get_context("spawn").Pipe()
        watching = multiprocessing.get_context("spawn").Process(target=_watch, args=(port, watchers, there))
        watching.start()
        _until(lambda: server.streams.open >= watchers)
        began_s = time.process_time()
        for number in range(pictures):
            reader.take()
            here.send(reader.picture.number)
            if not here.poll(60.0):
                raise TimeoutError(f"picture {number} did not reach all {watchers} watchers")
            here.recv()
        each_s = (time.process_time() - began_s) / pictures
        here.send(None)
        watching.join()
        row = [f"{servers} x 8", str(watchers), f"{1e3 * each_s:.0f} ms"]
        row += [f"{100 * each_s / _INTERVAL_S:.1f} %", f"{_resident_mb():.0f} MB"]
        return row + (_in_browser(port, reader) if watchers == 1 else ["", ""])


def _watch(port: int, watchers: int, pipe: Any) -> None:  # noqa: ANN401 - a connection
    _allow_connections()
    selector = selectors.DefaultSelector()
    tails: dict[int, bytes] = {}
    for number in range(watchers):
        client = socket.create_connection(("127.0.0.1", port), timeout=30.0)
        client.sendall(_ASK)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ, number)
    while (picture := pipe.recv()) is not None:
        waiting, head = set(range(watchers)), f"id: {picture}\n".encode()
        begun: set[int] = set()
        while waiting:
            for key, _ in selector.select(1.0):
                part = tails.get(key.data, b"") + key.fileobj.recv(262144)  # type: ignore[union-attr]
                if head in part:
                    begun.add(key.data)
                if key.data in begun and part.endswith(b"\n\n"):
                    waiting.discard(key.data)
                tails[key.data] = part[-64:]
        pipe.send(True)


def _in_browser(port: int, reader: Reader) -> list[str]:
    """Time to the first row, and the browser's CPU time for a picture as a share of the interval."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        program = None
    if program is None:
        return ["no browser", "no browser"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        firsts = []
        for _ in range(5):
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("#servers tbody tr", state="attached")
            paint = (
                "performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint')"
            )
            page.wait_for_function(f"Boolean({paint})")
            firsts.append(page.evaluate(f"{paint}.startTime"))
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")

        def busy_s() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

        before_s, turns = busy_s(), 5
        for _ in range(turns):
            done = threading.Event()
            reader.take()
            done.wait(1.0)
        each_s = (busy_s() - before_s) / turns
        browser.close()
    return [
        f"{statistics.median(firsts):.0f} ms",
        f"{1e3 * each_s:.0f} ms ({100 * each_s / _INTERVAL_S:.1f} %)",
    ]


def _allow_connections() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def _until(holds: Any, within_s: float = 60.0) -> None:  # noqa: ANN401 - any condition
    until_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError("the watchers are not connected")
        time.sleep(0.05)


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - as short
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
