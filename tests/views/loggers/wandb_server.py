"""What W&B's client needs of its service, on loopback: runs, their history, and how they have ended."""

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_ENTITY = {"id": "E", "name": "team"}
_PROJECT = {"id": "P", "name": "pylon", "entity": _ENTITY}


@dataclass
class Hosted:
    """What the service has of its one run; `exit_codes` are those with which it was finished."""

    id: str | None = None
    history: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)
    address: str = ""

    def bucket(self) -> dict[str, Any] | None:
        if self.id is None:
            return None
        return {
            "id": "B",
            "name": self.id,
            "displayName": "mine",
            "description": "",
            "config": "{}",
            "sweepName": None,
            "tags": [],
            "wandbConfig": '{"t": 1}',
            "project": _PROJECT,
            "historyLineCount": len(self.history),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyTail": json.dumps(self.history[-1:]),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(self.summary),
        }

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        if operation == "RunResumeStatus":
            return {"model": {**_PROJECT, "bucket": self.bucket()}}
        if operation == "UpsertBucket":
            inserted, self.id = self.id is None, variables.get("name") or self.id
            self.config |= json.loads(variables.get("config") or "{}")
            return {"upsertBucket": {"bucket": self.bucket(), "inserted": inserted}}
        if operation == "CreateRunFiles":
            names = variables.get("files") or []
            files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in names]
            return {"createRunFiles": {"runID": "B", "uploadHeaders": [], "files": files}}
        return {
            "viewer": {"id": "V", "entity": "team", "username": "u", "flags": "{}", "teams": {"edges": []}},
            "serverInfo": {"cliVersionInfo": {"max_cli_version": "0.99"}, "features": []},
            "QueryType": {"fields": []},
            "MutationType": {"fields": []},
            "project": {"run": {"stopped": False}},
        }

    def stream(self, body: dict[str, Any]) -> None:
        """Lines of files, from an offset on, and the end."""
        files = body.get("files") or {}
        if lines := files.get("wandb-history.jsonl"):
            self.history[lines["offset"] :] = lines["content"]
        if lines := files.get("wandb-summary.json"):
            self.summary = json.loads(lines["content"][-1])
        if body.get("complete"):
            self.exit_codes.append(body["exitcode"])


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hosted: Hosted

    def do_POST(self) -> None:
        content = self._content()
        if self.path.endswith("/graphql"):
            body = json.loads(content)
            operation = body.get("operationName") or body["query"].split()[1].partition("(")[0]
            self._answer({"data": self.hosted.answer(operation, body.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            self.hosted.stream(json.loads(content))
            self._answer({"limits": {}})
        else:
            self._answer({})

    def do_PUT(self) -> None:
        self._content()
        self._answer({})

    def do_GET(self) -> None:
        self._answer({})

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionResetError, BrokenPipeError):
            self.close_connection = True  # the client was killed

    def log_message(self, *_: object) -> None: ...

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def wandb_server(hosted: Hosted) -> Iterator[str]:
    """The service with one run in memory; yields its address."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (_Handler,), {"hosted": hosted})
    )
    hosted.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hosted.address
    finally:
        server.shutdown()
        server.socket.close()
        thread.join()
