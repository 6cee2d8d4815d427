"""Names of servers: what ssh takes is taken, and all else is refused with what was expected."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import ServerName
from tests.monitor.ssh.helpers import require_ssh


@pytest.mark.parametrize(
    ("text", "host", "user", "port"),
    [
        ("localhost", "localhost", None, None),
        ("gpu1", "gpu1", None, None),
        ("gpu-1.example.com", "gpu-1.example.com", None, None),
        ("alice@gpu1", "gpu1", "alice", None),
        ("gpu1:2222", "gpu1", None, 2222),
        ("alice@gpu1:2222", "gpu1", "alice", 2222),
        ("alice@corp.com@gpu1", "gpu1", "alice@corp.com", None),
        ("[::1]:22", "::1", None, 22),
        ("::1", "::1", None, None),
        ("a@[fe80::1%eth0]:3", "fe80::1%eth0", "a", 3),
        ("127.0.0.1:65535", "127.0.0.1", None, 65535),
        ("CORP\\alice@gpu1", "gpu1", "CORP\\alice", None),
        ("办公", "办公", None, None),
        ("gpü1", "gpü1", None, None),
        ("gpu+1", "gpu+1", None, None),
        ("lab/gpu3", "lab/gpu3", None, None),
        ("lab=a#1~x!^", "lab=a#1~x!^", None, None),
        ("root@account#dom@gpu1", "gpu1", "root@account#dom", None),
        ("x$y,z@gpu1", "gpu1", "x$y,z", None),
        ("ssh://root@gpu1:22440", "gpu1", "root", 22440),
        ("ssh://gpu1/", "gpu1", None, None),
        ("ssh://CORP%5Calice;fingerprint=x@gpu1", "gpu1", "CORP\\alice", None),
        ("ssh://a@[::1]:22", "::1", "a", 22),
    ],
)
def test_accepted_forms(text, host, user, port) -> None:
    name = ServerName.parse(text)
    assert (name.host, name.user, name.port) == (host, user, port)
    assert ServerName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "@", "@gpu1", "alice@", ":22", "gpu1:", "gpu1:0", "gpu1:65536", "gpu1:ssh", "gpu1:-1"),
        *("gpu1:22:33", "[::1", "::1]", "[gpu1]:22", "[::1]22", "[]", "-oProxyCommand=x", "a b", "gpu1\n"),
        *(
            "-l@gpu1",
            "gpu1;reboot",
            "$(x)",
            "`x`@gpu1",
            "gpu1/../x",
            "gpu1:\uff12\uff12",
            "a" * 300,
            "x:y@z:1:2",
            "gpu1\u200b",
            "gpu1\u202e",
            "gpu\u00a01",
            "gpu1\0",
            "gpu1\x1b[2J",
            "a\udcffb",
            "gpu1&x",
            "gpu1|x",
            "gpu1>x",
            "gpu1'x",
            'gpu1"x',
            "gpu1\\x",
            "gpu1{a,b}",
            "gpu%1",
            "fe80::1%;x",
            "fe80::1%eth0 x",
            "al ice@gpu1",
            "alice\\@gpu1",
            "al;ice@gpu1",
            "$(id)@gpu1",
            "${IFS}x@gpu1",
            "ssh://",
            "ssh://gpu1/x",
            "ssh://gpu1:0",
            "ssh://-oProxyCommand=x",
            "ssh://a%20b@gpu1",
            "ssh://a%ff@gpu1",
            "ssh://a%0ab@gpu1",
            "ssh://%2doProxyCommand=x@gpu1",
        ),
    ],
)
def test_refused_with_value_and_what_was_expected(text) -> None:
    with pytest.raises(MonitorSettingError) as caught:
        ServerName.parse(text)
    assert repr(text) in str(caught.value)
    assert "expected localhost, host, user@host" in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, b"gpu1", ServerName("gpu1")])
def test_refused_if_no_text(value) -> None:
    with pytest.raises(MonitorSettingError, match="expected"):
        ServerName.parse(value, "servers[3]")


def test_only_plain_localhost_is_this_machine_itself() -> None:
    assert ServerName.parse("localhost").is_local
    assert not any(
        ServerName.parse(text).is_local for text in ("me@localhost", "localhost:22", "127.0.0.1", "Localhost")
    )


@pytest.mark.slow
@given(st.text(max_size=40))
def test_any_text_is_a_harmless_name_or_refused(text) -> None:
    try:
        name = ServerName.parse(text)
    except MonitorSettingError:
        return
    assert ServerName.parse(str(name)) == name
    assert str(name).isprintable() and " " not in str(name)
    assert not set(name.host) & set("'`\"$\\;&<>|(){},")
    assert not set(name.user or "") & set("'`\";&<>|(){}")
    assert not name.host.startswith("-") and not (name.user or "").startswith("-")


@settings(max_examples=60)
@given(st.text("ab'`\"$\\;&<>|(){},-@/#+=~!^?* \t\n\u529e", min_size=1, max_size=6))
def test_nothing_is_taken_that_ssh_refuses(text) -> None:
    require_ssh()
    try:
        ServerName.parse(text)
    except MonitorSettingError:
        return
    done = subprocess.run(
        ["ssh", "-F", "none", "-G", "--", text],
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
