"""Who gets an answer: attacks that a page on a port must not fall for."""

from pathlib import Path

import pytest

from pylon.views.access import Access, AccessError, Address
from tests.views.web.conftest import TOKEN, Server


def test_page_of_another_site_that_points_a_name_at_this_machine_gets_nothing(served: Server) -> None:
    server = served()
    for host in ("evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "", "[::2]"):
        reply = server.get("/", Host=host)
        assert reply.status == 421, host
        assert b"gpu0" not in reply.body
    for host in ("localhost", "127.0.0.1:1", "[::1]:8790", "LOCALHOST"):
        assert server.get("/", Host=host).status == 200, host
    assert server.raw(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421"), "no Host at all"


def test_data_is_not_given_to_pages_of_other_sites(served: Server) -> None:
    server = served()
    for site in ("cross-site", "same-site"):
        assert server.get("/api/server/0", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403
    assert server.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200, "a link"
    reply = server.get("/api/server/0", Origin="http://evil.example")
    assert reply.header("access-control-allow-origin") is None
    assert server.get("/", "OPTIONS", Origin="http://evil.example").status == 405


def test_every_answer_has_the_headers_that_bind_a_browser(served: Server) -> None:
    server = served(token=TOKEN)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/nothing", "/login", "/api/server/0", "/static/page.css"):
        reply = server.get(path, **bearer)
        policy = reply.header("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert reply.header("x-content-type-options") == "nosniff"
        assert reply.header("referrer-policy") == "no-referrer"
        assert reply.header("cache-control") == "no-store"
        assert reply.header("server") is None


def test_without_the_token_nothing_is_answered(served: Server) -> None:
    server = served(token=TOKEN)
    for path in (
        "/api/server/0",
        "/events",
        "/-/ready",
        f"/api/server/0?token={TOKEN}",
        "/static/overview.js",
    ):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"pylon_{server.port}=wrong"}):
            reply = server.get(path, **headers)
            assert reply.status == 401, path
            assert b"gpu0" not in reply.body
    page = server.get("/", Accept="text/html")
    assert (page.status, page.header("location")) == (303, "/login")
    assert server.get("/api/server/0", Authorization=f"Bearer {TOKEN}").status == 200


def test_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(served: Server) -> None:
    server = served(token=TOKEN)
    assert server.get("/login").status == 200
    wrong = server.get("/login", "POST", b"token=wrong")
    assert (wrong.status, wrong.header("set-cookie")) == (401, None)
    right = server.get("/login", "POST", f"token={TOKEN}".encode())
    cookie = right.header("set-cookie") or ""
    assert right.status == 303
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert server.get("/api/server/0", Cookie=cookie.partition(";")[0]).status == 200
    other = served(token=TOKEN)
    value = cookie.partition(";")[0].partition("=")[2]
    assert other.get("/api/server/0", Cookie=f"pylon_{other.port}={value}").status == 401, (
        "of another process"
    )


def test_beyond_this_machine_there_is_always_a_token(tmp_path: Path) -> None:
    address = Address.of("0.0.0.0", 0)
    with pytest.raises(AccessError, match="token-file"):
        Access.of(address, [], None)
    assert Access.of(address, [], None, TOKEN).token == TOKEN


def test_only_reading_is_answered(served: Server) -> None:
    server = served()
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS"):
        reply = server.get("/api/server/0", method)
        assert reply.status == 405, method
    assert server.get("/", "HEAD").body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "//etc/passwd",
        "/run/../../etc/passwd",
        "/run/%2e%2e%2fhistory.sqlite",
        "/api/run/1%00",
        "/api/api/run/1",
        "/run/1/",
        "/run/01x",
        "/run/%F0%9F%98%80",
        "/run/\u00b2",
        "/api/run/-1",
        "/api/run/99999999999999999999",
    ],
)
def test_no_path_leads_to_a_file(served: Server, path: str) -> None:
    reply = served().get(path)
    assert reply.status in {400, 404}
    assert b"root:" not in reply.body
    assert b"import" not in reply.body


def test_nothing_of_a_request_comes_back_in_the_head(served: Server) -> None:
    server = served()
    for path in (
        "/run/1%0d%0aSet-Cookie:%20a=1",
        "/compare?run=1%0d%0aSet-Cookie:a=1",
        "/%0d%0a%0d%0a<script>",
    ):
        reply = server.get(path)
        assert reply.header("set-cookie") is None
        assert b"script" not in reply.body
    assert server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n")[9:12] == b"400"
    assert server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n")[9:12] == b"400"


# Cut while it comes, or when it is complete.
_TOO_LONG = {b"400", b"431", b""}


def test_what_is_too_large_is_refused(served: Server) -> None:
    server = served(token=TOKEN)
    assert server.raw(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")[9:12] in _TOO_LONG
    long = b"X: " + b"a" * 70_000
    assert server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + long)[9:12] in _TOO_LONG
    assert server.get("/login", "POST", b"token=" + b"a" * 5000).status == 413
    chunked = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert server.raw(chunked)[9:12] == b"413"
    assert server.get("/", body=b"a", Authorization=f"Bearer {TOKEN}").status == 413
    fields = "&".join("run=1" for _ in range(200))
    assert server.get(f"/compare?{fields}", Authorization=f"Bearer {TOKEN}").status == 400
