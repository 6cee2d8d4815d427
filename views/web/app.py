"""What is answered: pages, their files, the stream of pictures, and charts on demand. All of it only reads.

/                   overview          /events               pictures as they come
/server/N /run/N    one of them       /api/server/N /api/run/N
/compare?run=N...   several runs      /api/compare?run=N...
/-/ready            whether there is something to show
"""

import json
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from pylon.recorder.history import HistoryError
from pylon.recorder.report.errors import ReportError
from pylon.views.sources.runs import RunNow
from pylon.views.sources.servers import ServerNow
from pylon.views.web.answers import Answer, Receive, Request, Send, refused, send_answer
from pylon.views.web.charts import comparison_answer, run_answer, server_charts
from pylon.views.web.errors import BusyError, SlowError
from pylon.views.web.pages import detail_page, overview_page, static_files
from pylon.views.web.parts import shown
from pylon.views.web.picture import Picture
from pylon.views.web.reading import Reader
from pylon.views.web.server_page import server_head, server_tail
from pylon.views.web.streams import Streams
from pylon.views.web.workers import Workers

_LOG = logging.getLogger(__name__)
TextRoute = Callable[[Picture, str], tuple[bytes, str]]
"""From the newest picture and the header Accept to a text and its content type."""
_MOST_COMPARED = 12
_LONGEST_ACCEPT = 500
_RETRY_AFTER = "2"


@dataclass(frozen=True, slots=True)
class Page:
    """The app behind the guard.

    Attributes:
        reader: takes the pictures.
        streams: of all browsers.
        workers: read records.
        every_s: between two pictures.
        commands: whether command lines are shown.
        texts: further routes, such as '/metrics'.
        files: static ones, by path.
    """

    reader: Reader
    streams: Streams
    workers: Workers
    every_s: float
    commands: bool
    texts: Mapping[str, TextRoute]
    files: Mapping[str, Answer]

    @classmethod
    def of(
        cls,
        reader: Reader,
        streams: Streams,
        every_s: float,
        *,
        workers: Workers | None = None,
        commands: bool = False,
        texts: Mapping[str, TextRoute] | None = None,
    ) -> "Page":
        """With all that it needs.

        Args:
            reader: takes the pictures.
            streams: of all browsers.
            every_s: between two pictures.
            workers: read records.
            commands: whether command lines, masked, are shown.
            texts: further routes.
        """
        return cls(reader, streams, workers or Workers(), every_s, commands, texts or {}, static_files())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request.of(scope, receive)
        if request.path == "/events":
            await self.streams.answer(request, send)
            return
        try:
            answer = await self._answer(request)
        except BusyError as error:
            answer = refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error), retry_after=_RETRY_AFTER)
        except SlowError as error:
            answer = refused(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        except (HistoryError, ReportError) as error:
            answer = refused(HTTPStatus.UNPROCESSABLE_ENTITY, shown(str(error)))
        except Exception as error:  # noqa: BLE001 - one answer less, and its page shows why
            _LOG.exception("no answer for %r", shown(request.path))
            answer = refused(HTTPStatus.INTERNAL_SERVER_ERROR, shown(f"{type(error).__name__}: {error}"))
        await send_answer(send, answer)

    async def _answer(self, request: Request) -> Answer:
        path, picture = request.path, self.reader.picture
        if path == "/":
            return overview_page(picture)
        if path in self.files:
            return self.files[path]
        if path == "/-/ready":
            status = HTTPStatus.SERVICE_UNAVAILABLE if picture.is_empty else HTTPStatus.OK
            return refused(status)
        if path in self.texts:
            return await self._text(path, picture, request.headers.get("accept", ""))
        if path in {"/compare", "/api/compare"}:
            return await self._compared(request, picture)
        return await self._one(path.split("/")[1:], picture)

    async def _text(self, path: str, picture: Picture, accept: str) -> Answer:
        make = self.texts[path]
        # Clients with the same wish get the same text, of a picture that is at most seconds old.
        wish = accept[:_LONGEST_ACCEPT]

        def made() -> bytes:
            body, type_ = make(picture, wish)
            return type_.encode() + b"\n" + body

        type_, _, body = (await self.workers.answer((path, wish), picture.number, made)).partition(b"\n")
        return Answer(body, type_.decode())

    async def _one(self, words: Sequence[str], picture: Picture) -> Answer:
        """A server or a run: its page, or what that shows."""
        is_page = words[0] != "api"
        kind, number = words if is_page and len(words) == 2 else (*words[1:], "", "")[:2]
        found: Mapping[str, Mapping[int, ServerNow | RunNow]] = {
            "server": picture.servers,
            "run": picture.runs,
        }
        one = found.get(kind, {}).get(_number(number))
        if one is None or len(words) != (2 if is_page else 3):
            return refused(HTTPStatus.NOT_FOUND)
        if is_page:
            source = f"/api/{kind}/{_number(number)}"
            return detail_page(shown(one.name), source, [f"{kind[0]}{_number(number)}"])
        if isinstance(one, ServerNow):
            return self._server(one)
        return await self._run(one, picture.changed[f"r{_number(number)}"])

    def _server(self, server: ServerNow) -> Answer:
        charts = server_charts(self.reader.last_minutes(server), self.every_s)
        record = {"title": shown(server.name), "head": server_head(server), **charts}
        record["tail"] = server_tail(server, commands=self.commands)
        return Answer(json.dumps(record, allow_nan=False, separators=(",", ":")).encode())

    async def _run(self, run: RunNow, changed: int) -> Answer:
        body = await self.workers.answer(
            ("run", run.path), changed, lambda: run_answer(run.path, commands=self.commands)
        )
        return Answer(body)

    async def _compared(self, request: Request, picture: Picture) -> Answer:
        numbers = sorted({_number(one) for one in request.values("run")})
        runs = [picture.runs[number] for number in numbers if number in picture.runs]
        if len(runs) != len(numbers):
            return refused(HTTPStatus.NOT_FOUND, "one of these runs is not known")
        if not 2 <= len(runs) <= _MOST_COMPARED:
            return refused(HTTPStatus.BAD_REQUEST, f"expected 2 to {_MOST_COMPARED} runs")
        keys = [f"r{number}" for number in numbers]
        if request.path == "/compare":
            source = f"/api/compare?{urlencode([('run', number) for number in numbers])}"
            return detail_page(f"{len(runs)} runs compared", source, keys)
        paths = [run.path for run in runs]
        body = await self.workers.answer(
            ("compare", *paths),
            tuple(picture.changed[key] for key in keys),
            lambda: comparison_answer(paths, commands=self.commands),
        )
        return Answer(body)


def _number(given: str) -> int:
    """A number of ours; -1 if it is none."""
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else -1
