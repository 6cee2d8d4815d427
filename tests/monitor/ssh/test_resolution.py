"""Names resolve as ssh resolves them."""

import os
import pwd
from pathlib import Path

import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import HostKeyPolicy, Resolver, ServerName
from tests.monitor.ssh.helpers import require_ssh, resolved, written
from tests.monitor.ssh.sshd import openssh_version

ME = pwd.getpwuid(os.getuid())
HOME = Path(ME.pw_dir)


@pytest.fixture(autouse=True)
def needs_ssh() -> None:
    require_ssh()


def test_match_exec_before_a_criterion_that_rules_it_out_is_no_error(tmp_path) -> None:
    text = "Match exec true host other\n Port 3\nMatch host other exec false\n Port 4\nHost *\n Port 5\n"
    assert resolved(tmp_path, text).port == 5
    assert resolved(tmp_path, text, "other").port == 3


def test_canonical_names_tags_of_patterns_and_includes_are_those_of_ssh(tmp_path) -> None:
    (tmp_path / "a.conf").write_text("Host gpu?\n  User from-include\n")
    text = f"Include {tmp_path}/*.conf\nHost gpu1\n  HostName %h.lan\nMatch final host *.lan\n  Port 7\n"
    found = resolved(tmp_path, text)
    assert (found.host, found.port, found.user) == ("gpu1.lan", 7, "from-include")


def test_user_and_port_of_the_name_come_first_and_reach_match(tmp_path) -> None:
    text = "Match user bob\n  IdentityFile /bobs\nHost gpu1\n  User a\n  Port 3\n  HostName 10.0.0.1\n"
    found = resolved(tmp_path, text, "bob@gpu1:99")
    assert (found.user, found.port, found.host, found.name) == ("bob", 99, "10.0.0.1", "bob@gpu1:99")
    assert found.identity_files == (Path("/bobs"),)


@pytest.mark.parametrize(
    ("name", "host", "user", "port"),
    [
        ("CORP\\alice@gpu1", "gpu1", "CORP\\alice", 22),
        ("办公", "办公", ME.pw_name, 22),
        ("gpu+1", "gpu+1", ME.pw_name, 22),
        ("lab/gpu3", "lab/gpu3", ME.pw_name, 22),
        ("ssh://root@gpu1:22440", "gpu1", "root", 22440),
        ("root@account#dom@gpu1", "gpu1", "root@account#dom", 22),
    ],
)
def test_names_as_ssh_takes_them(name, host, user, port, tmp_path) -> None:
    found = resolved(tmp_path, "", name)
    assert (found.host, found.user, found.port) == (host, user, port)


def test_user_of_a_domain_in_the_file(tmp_path) -> None:
    assert resolved(tmp_path, "Host corp\n  User CORP\\alice\n", "corp").user == "CORP\\alice"


def test_home_of_another_user_tokens_and_variables(tmp_path) -> None:
    text = (
        "HostName %h.lan\nPort 7\nUser u\nIdentityFile ~root/k\nIdentityFile ~/%h/%n/%r/%p/%%/${WHERE}\n"
        "IdentityFile %d/%u/%i/%l\nCertificateFile ~root/%h-cert.pub\nIdentityAgent %d/agent\n"
        "ProxyCommand nc -x %h %p %r %n %%\nUserKnownHostsFile ~/known/%k ~root/x\n"
        "GlobalKnownHostsFile ~root/g\nRevokedHostKeys ~root/revoked\n"
    )
    root = Path(pwd.getpwnam("root").pw_dir)
    found = resolved(tmp_path, text, environment={"WHERE": "here", "SSH_AUTH_SOCK": "/no"})
    assert found.identity_files == (
        root / "k",
        HOME / "gpu1.lan/gpu1/u/7/%/here",
        HOME / ME.pw_name / str(ME.pw_uid) / os.uname().nodename,
    )
    assert found.certificate_files == (root / "gpu1.lan-cert.pub",)
    assert found.agent == HOME / "agent"
    assert found.proxy_command == "nc -x gpu1.lan 7 u gpu1 %"
    assert found.known_hosts_files == (HOME / "known/gpu1", root / "x", root / "g")
    assert found.noted_in == HOME / "known/gpu1"
    assert found.revoked_host_keys == root / "revoked"


def test_path_with_a_blank_is_one_path(tmp_path) -> None:
    found = resolved(tmp_path, 'UserKnownHostsFile "/a b/known hosts" /c\nGlobalKnownHostsFile none\n')
    assert found.known_hosts_files == (Path("/a b/known hosts"), Path("/c"))


@pytest.mark.parametrize(
    ("line", "agent"),
    [
        ("", "/run/agent"),
        ("IdentityAgent SSH_AUTH_SOCK", "/run/agent"),
        ("IdentityAgent $OTHER", "/run/other"),
        ("IdentityAgent ${OTHER}/x", "/run/other/x"),
        ("IdentityAgent none", None),
        ("IdentityAgent $MISSING", None),
    ],
)
def test_agent_socket(line, agent, tmp_path) -> None:
    environment = {"SSH_AUTH_SOCK": "/run/agent", "OTHER": "/run/other"}
    found = resolved(tmp_path, f"{line}\n", environment=environment)
    assert found.agent == (None if agent is None else Path(agent))


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("yes", HostKeyPolicy.STRICT),
        ("accept-new", HostKeyPolicy.ACCEPT_NEW),
        ("no", HostKeyPolicy.ACCEPT_NEW),
        ("off", HostKeyPolicy.ACCEPT_NEW),
        ("ask", None),
    ],
)
def test_each_form_of_strict_host_key_checking(value, policy, tmp_path) -> None:
    assert resolved(tmp_path, f"StrictHostKeyChecking {value}\n").host_key_policy is policy


def test_hops_are_resolved_each_by_itself(tmp_path) -> None:
    text = """
Host gpu*
  ProxyJump alice@mid,far:2200
Host mid
  HostName 10.0.0.1
  IdentityFile /mid
  ProxyJump gate
Host far
  HostName 10.0.0.2
  ProxyJump never-used
Host gate
  Port 4
  ProxyCommand nc %h %p
"""
    found = resolved(tmp_path, text)
    assert [hop.host for hop in found.hops] == ["gate", "10.0.0.1", "10.0.0.2"]
    assert [hop.port for hop in found.hops] == [4, 22, 2200]
    assert found.hops[0].proxy_command == "nc gate 4"
    assert found.hops[1].user == "alice"
    assert found.hops[1].identity_files == (Path("/mid"),)
    assert all(hop.hops == () for hop in found.hops)
    assert [hop.proxy_command for hop in found.hops[1:]] == [None, None]
    way, *rest = found.address.split(" > ")
    assert way.startswith("ProxyCommand ") and "nc" not in way and "nc" not in repr(found)
    assert rest == ["gate:4", "10.0.0.1:22", "10.0.0.2:2200", "gpu1:22"]


@pytest.mark.parametrize(
    "text",
    [
        "ProxyJump bastion\n",
        "Host a\n ProxyJump b\nHost b\n ProxyJump a\nHost gpu1\n ProxyJump a\n",
        "Host gpu1\n ProxyJump gpu1\n",
    ],
)
def test_hops_that_go_in_a_circle_are_refused(text, tmp_path) -> None:
    with pytest.raises(MonitorSettingError, match=r"goes in a circle|jumphost loop"):
        resolved(tmp_path, text)


def test_hop_by_address_is_no_hop_in_brackets(tmp_path) -> None:
    hops = resolved(tmp_path, "Host gpu1\n ProxyJump 10.0.0.1,a@10.0.0.2:3,[::1]:4\n").hops
    assert [(hop.host, hop.port) for hop in hops] == [("10.0.0.1", 22), ("10.0.0.2", 3), ("::1", 4)]
    (hop,) = resolved(tmp_path, "Host gpu1\n ProxyJump 10.0.0.1\n").hops
    assert hop.host == "10.0.0.1"


def test_one_server_under_two_names_has_one_address(tmp_path) -> None:
    text = (
        "Host one two\n HostName GPU1.lan\n"
        "Host three\n HostName gpu1.lan\n Port 22\n User bob\n"
        "Host four\n HostName gpu1.lan\n Port 23\n"
    )
    found = Resolver(written(tmp_path, text), {}).resolve_all(
        map(ServerName, ("one", "two", "three", "four"))
    )
    assert [one.address for one in found.values()] == ["gpu1.lan:22"] * 3 + ["gpu1.lan:23"]


@pytest.mark.parametrize(
    ("text", "name", "fallback"),
    [
        ("", "gpu1", None),
        ("Port 2222\n", "[gpu1]:2222", "gpu1"),
        ("Port 2222\nHostKeyAlias Rack\n", "rack", None),
        ("HostName ::1\nPort 3\n", "[::1]:3", "::1"),
    ],
)
def test_name_that_the_host_key_is_looked_up_under(text, name, fallback, tmp_path) -> None:
    found = resolved(tmp_path, text)
    assert (found.host_key_name, found.host_key_fallback_name) == (name, fallback)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Port\n", "config line 1: "),
        ('Host "gpu1\n', "config line 1"),
        ("Port abc\n", "line 1: Bad "),
        ("Nonsense 1\n", "line 1: Bad configuration option: nonsense"),
        ("HostName a;b\n", "HostName of gpu1: 'a;b', expected a host name"),
        ("HostName -x\n", "expected a host name"),
        ("User $(x)\n", "User of gpu1: '$(x)', expected a user's name"),
        ("ConnectTimeout soon\n", "line 1"),
        ("IdentityFile /%x\n", "IdentityFile: '%x' in '/%x', expected one of %% %h"),
        ("IdentityFile /${NO_SUCH}\n", "expected $NO_SUCH to be set"),
        ("IdentityFile ~no-such-user/k\n", "expected a user of this machine: there is no 'no-such-user'"),
        pytest.param(
            "RevokedHostKeys /%h\n",
            "RevokedHostKeys: '/%h', expected a path without",
            marks=pytest.mark.skipif(openssh_version() >= (10, 0), reason="this ssh expands it itself"),
        ),
        ("ProxyCommand nc %d\n", "ProxyCommand: '%d'"),
    ],
)
def test_what_cannot_be_followed_is_named(text, words, tmp_path) -> None:
    with pytest.raises(MonitorSettingError) as caught:
        resolved(tmp_path, text)
    assert words in str(caught.value)
    assert "debug" not in str(caught.value)
