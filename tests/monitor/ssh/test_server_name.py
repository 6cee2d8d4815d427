"""Names of servers: what is taken, and that all else is refused with what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import ServerName


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
            "gpü1",
            "gpu1:\uff12\uff12",
            "a" * 300,
            "x:y@z:1:2",
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
    assert not set(str(name)) & set(" \t\n;|&$`'\"\\<>(){}*?!~#/=,")
    assert not name.host.startswith("-") and not (name.user or "").startswith("-")
