"""ssh_config: what we read there is what `ssh -G` reads there."""

import getpass
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import ServerName, SSHConfig, SSHSettings, resolve
from pylon.monitor.ssh.ssh_config_lookup import pattern_list_matches
from tests.monitor.ssh.sshd import require_sshd

HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)

CONFIGS = {
    "first value counts": "Host gpu1\n User a\nHost g*\n User b\n Port 2\nHost *\n Port 3\n HostName x.%h\n",
    "negated pattern": "Host gpu* !gpu2\n User a\nHost !gpu1\n Port 9\nHost * !gpu?\n Port 7\n",
    "question mark and case": "Host gpu?\n User a\nHost GPU1\n User b\nHost gpu[12]\n Port 9\n",
    "equals, quotes, comments": 'User="a"\nPort = 22 # x\n# Port 3\nIdentityFile "/my key"\nHostName\t%h.x\n',
    "before the first Host": "Port 5\nHost gpu1\nPort 6\nUser a\n",
    "match": "Match host gpu1,x user root\n Port 3\nMatch !host gpu1\n Port 4\nMatch all\n User a\n",
    "match sees the HostName so far": "Host gpu1\n HostName real\nMatch host real\n Port 3\n",
    "match sees the original host": "Host gpu1\n HostName real\nMatch originalhost gpu1\n User b\n",
    "match final": "Host gpu1\n HostName real\nMatch final host real\n User f\nHost real\n Port 8\n",
    "match final negated": "Match !final\n Port 1\nMatch final\n User f\n",
    "match with equals": "Match host=gpu1\n Port 3\n",
    "jump before command": "Host g* G* x\n ProxyJump a@b:3,c\n ProxyCommand nc %h %p\n",
    "command before jump": "ProxyCommand nc %h %p  # all of it\nProxyJump b\n",
    "jump none": "Host gpu1\n ProxyJump none\nHost g* G* x\n ProxyJump b\n",
    "many identities": "Host gpu1\n IdentityFile ~/a\nHost *\n IdentityFile ~/b\n IdentityFile ~/a\n",
    "times": "ConnectTimeout 1m10s\n",
    "known hosts": "UserKnownHostsFile ~/.ssh/x /y\nGlobalKnownHostsFile none\nHostKeyAlias Alias\n",
    "identities only": "IdentitiesOnly yes\nIdentityAgent none\n",
}


@pytest.mark.parametrize("host", ["gpu1", "GPU1", "gpu2", "x"])
@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS.keys())
def test_read_as_ssh_reads_it(text, host, tmp_path) -> None:
    assert ours(write(tmp_path, text), host) == of_ssh(write(tmp_path, text), host)


_HOSTS = st.sampled_from(["gpu1", "gpu2", "lab", "gpu1.lan"])
_PATTERNS = st.sampled_from(["*", "gpu1", "gpu?", "*.lan", "!gpu2", "!lab", "lab", "g*1*"])
_LINES = st.one_of(
    st.lists(_PATTERNS, min_size=1, max_size=3).map(lambda words: f"Host {' '.join(words)}"),
    st.tuples(st.sampled_from(["", "!"]), st.sampled_from(["host", "originalhost"]), _PATTERNS).map(
        lambda words: f"Match {words[0]}{words[1]} {words[2]}"
    ),
    st.integers(1, 5).map(lambda number: f"Port {number}"),
    st.sampled_from("abc").map(lambda name: f"User {name}"),
    st.sampled_from(["gpu1", "%h.lan", "lab"]).map(lambda name: f"HostName {name}"),
    st.sampled_from("kl").map(lambda name: f"IdentityFile /{name}"),
    st.just("Include INCLUDED"),
    st.sampled_from(["Match all", "Match final", "Match final host *.lan"]),
)


@settings(max_examples=100)
@given(
    lines=st.lists(_LINES, max_size=8),
    included=st.lists(_LINES.filter(lambda line: "Include" not in line), max_size=4),
    host=_HOSTS,
)
def test_any_file_is_read_as_ssh_reads_it(lines, included, host, tmp_path_factory) -> None:
    tmp_path = tmp_path_factory.mktemp("config")
    (tmp_path / "included").write_text("\n".join(included))
    text = "\n".join(lines).replace("INCLUDED", str(tmp_path / "included"))
    config = write(tmp_path, text)
    assert ours(config, host) == of_ssh(config, host)


def test_include_in_a_block_with_pattern_and_within_others(tmp_path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "b.conf").write_text("Port 2\n")
    (folder / "a.conf").write_text(f"Port 1\nHost gpu2\n User two\nInclude {tmp_path}/deep*\n")
    (folder / "not.txt").write_text("Port 9\n")
    (tmp_path / "deep1").write_text("IdentityFile /deep\n")
    text = f"Host gpu*\n Include {folder}/*.conf {tmp_path}/missing\n User after\n"
    for host in ("gpu1", "gpu2", "x"):
        assert ours(write(tmp_path, text), host) == of_ssh(write(tmp_path, text), host)
    assert ours(write(tmp_path, text), "gpu1")["port"] == "1"
    assert ours(write(tmp_path, text), "gpu2")["identityfile"] == ["/deep"]


def test_include_is_relative_to_the_folder_of_its_kind(tmp_path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Include extra\nInclude ~/.ssh/more\n")
    (tmp_path / ".ssh/config").chmod(0o600)
    (tmp_path / ".ssh/extra").write_text("Port 7\n")
    (tmp_path / ".ssh/more").write_text("User seven\n")
    (tmp_path / "system").mkdir()
    (tmp_path / "system/ssh_config").write_text("Include ssh_config.d/*\nPort 9\n")
    (tmp_path / "system/ssh_config.d").mkdir()
    (tmp_path / "system/ssh_config.d/one").write_text("HostName from-system\n")
    config = SSHConfig.read(None, tmp_path / "system/ssh_config", tmp_path)
    found = resolve(ServerName("gpu1"), config, {})
    assert (found.port, found.user, found.host) == (7, "seven", "from-system")
    assert found.identity_files[0] == tmp_path / ".ssh/id_rsa"
    assert found.noted_in == tmp_path / ".ssh/known_hosts"


def test_missing_files_are_no_files_unless_they_were_named(tmp_path) -> None:
    found = resolve(ServerName("gpu1"), SSHConfig.read(None, tmp_path / "none", tmp_path), {})
    assert (found.host, found.port, found.user) == ("gpu1", 22, pwd.getpwuid(os.getuid()).pw_name)
    with pytest.raises(MonitorSettingError, match="expected a file"):
        SSHConfig.read(tmp_path / "none")


def test_file_that_others_can_write_is_refused(tmp_path) -> None:
    (tmp_path / ".ssh").mkdir()
    path = tmp_path / ".ssh/config"
    path.write_text("ProxyCommand evil\n")
    path.chmod(0o666)
    with pytest.raises(MonitorSettingError, match="nobody else can write"):
        SSHConfig.read(None, None, tmp_path)
    path.chmod(0o644)
    SSHConfig.read(None, None, tmp_path)


def test_include_of_itself_ends(tmp_path) -> None:
    path = write(tmp_path, f"Include {tmp_path}/config\n")
    with pytest.raises(MonitorSettingError, match="included 17 deep"):
        SSHConfig.read(path, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Port\n", "config:1: 'Port', expected a keyword and its value"),
        ('Host "gpu1\n', "expected quotes that are closed"),
        ("Match host\n", "Match host has no value"),
        ("Port abc\n", "Port of gpu1: 'abc', expected a number from 1 to 65535"),
        ("HostName a;b\n", "HostName of gpu1: 'a;b', expected a host name"),
        ("HostName -x\n", "expected a host name"),
        ("User $(x)\n", "User of gpu1: '$(x)', expected a user's name"),
        ("ConnectTimeout soon\n", "ConnectTimeout: 'soon', expected seconds"),
        ("IdentityFile /%x\n", "IdentityFile: '%x' in '/%x', expected one of %% %h"),
        ("IdentityFile /${NO_SUCH}\n", "expected $NO_SUCH to be set"),
        ("ProxyCommand nc %d\n", "ProxyCommand: '%d'"),
        ("ProxyJump b;c\n", "ProxyJump of gpu1: 'b;c', expected"),
        ("CanonicalizeHostname yes\nCanonicalDomains lan\n", "CanonicalizeHostname: 'yes' for 'gpu1'"),
        ("Match host gpu1 exec true\n", "exec would run a program"),
        ("Match localnetwork 10.0.0.0/8\n", "'Match localnetwork' decides about 'gpu1'"),
    ],
)
def test_what_cannot_be_followed_is_named(text, words, tmp_path) -> None:
    with pytest.raises(MonitorSettingError) as caught:
        ours(write(tmp_path, text), "gpu1")
    assert words in str(caught.value)


def test_match_exec_runs_nothing_and_matters_only_where_it_decides(tmp_path) -> None:
    ran = tmp_path / "ran"
    text = f"Match host other exec 'touch {ran}'\n Port 3\n"
    assert resolve(ServerName("gpu1"), SSHConfig.read(write(tmp_path, text), None), {}).port == 22
    with pytest.raises(MonitorSettingError, match="exec"):
        resolve(ServerName("other"), SSHConfig.read(write(tmp_path, text), None), {})
    assert not ran.exists()


def test_user_and_port_of_the_name_come_first(tmp_path) -> None:
    config = SSHConfig.read(write(tmp_path, "Host gpu1\n User a\n Port 3\n HostName 10.0.0.1\n"), None)
    found = resolve(ServerName.parse("bob@gpu1:99"), config, {})
    assert (found.user, found.port, found.host, found.name) == ("bob", 99, "10.0.0.1", "bob@gpu1:99")


def test_tokens_and_variables(tmp_path) -> None:
    text = (
        "HostName %h.lan\nPort 7\nUser u\nIdentityFile ~/%h/%n/%r/%p/%%/${WHERE}\n"
        "IdentityAgent %d/agent\nProxyCommand nc -x %h %p %r %n %%\nUserKnownHostsFile ~/known/%k\n"
    )
    config = SSHConfig.read(write(tmp_path, text), None)
    found = resolve(ServerName("gpu1"), config, {"WHERE": "here", "SSH_AUTH_SOCK": "/no"})
    assert found.identity_files == (HOME / "gpu1.lan/gpu1/u/7/%/here",)
    assert found.agent == HOME / "agent"
    assert found.proxy_command == "nc -x gpu1.lan 7 u gpu1 %"
    assert found.known_hosts_files[0] == found.noted_in == HOME / "known/gpu1.lan"


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
    found = resolve(ServerName("x"), SSHConfig.read(write(tmp_path, f"{line}\n"), None), environment)
    assert found.agent == (None if agent is None else Path(agent))


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
    found = resolve(ServerName("gpu1"), SSHConfig.read(write(tmp_path, text), None), {})
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
    with pytest.raises(MonitorSettingError, match="goes in a circle"):
        ours(write(tmp_path, text), "gpu1")


def test_one_server_under_two_names_has_one_address(tmp_path) -> None:
    text = (
        "Host one two\n HostName GPU1.lan\n"
        "Host three\n HostName gpu1.lan\n Port 22\n User bob\n"
        "Host four\n HostName gpu1.lan\n Port 23\n"
    )
    config = SSHConfig.read(write(tmp_path, text), None)
    addresses = [resolve(ServerName(name), config, {}).address for name in ("one", "two", "three", "four")]
    assert addresses == ["gpu1.lan:22"] * 3 + ["gpu1.lan:23"]


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
    found = resolve(ServerName("gpu1"), SSHConfig.read(write(tmp_path, text), None), {})
    assert (found.host_key_name, found.host_key_fallback_name) == (name, fallback)


@given(st.text("ab*?!,", max_size=8), st.text("ab", max_size=4))
def test_patterns_know_no_other_signs(patterns, text) -> None:
    import fnmatch

    parts = patterns.split(",")
    positive = any(fnmatch.fnmatchcase(text, one) for one in parts if not one.startswith("!"))
    negative = any(fnmatch.fnmatchcase(text, one[1:]) for one in parts if one.startswith("!"))
    assert pattern_list_matches(text, patterns) == (positive and not negative)


def write(folder: Path, text: str) -> Path:
    path = folder / "config"
    path.write_text(text)
    return path


def ours(config: Path, host: str) -> dict[str, object]:
    """What we read, as `ssh -G` writes it."""
    found = resolve(ServerName(host), SSHConfig.read(config, None), {})
    options = _jump_text(config, host)
    return {
        "hostname": found.host,
        "port": str(found.port),
        "user": found.user,
        "identityfile": [str(one) for one in found.identity_files],
        "identitiesonly": "yes" if found.identities_only else "no",
        "connecttimeout": "none" if found.connect_timeout_s is None else f"{found.connect_timeout_s:.0f}",
        "proxyjump": options,
        "hops": len(found.hops),
    }


def _jump_text(config: Path, host: str) -> str | None:
    found: SSHSettings = resolve(ServerName(host), SSHConfig.read(config, None), {})
    return ",".join(str(ServerName.parse(hop.name)) for hop in found.hops) or None


def of_ssh(config: Path, host: str) -> dict[str, object]:
    """What `ssh -G` reads; the test is skipped where there is no ssh."""
    if shutil.which("ssh") is None:
        require_sshd()
        pytest.skip("needs OpenSSH's ssh")
    text = subprocess.run(
        ["ssh", "-F", config, "-G", host], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, []).append(value)
    files = [one.replace("~", str(HOME), 1) if one.startswith("~") else one for one in values["identityfile"]]
    jump = values.get("proxyjump", [None])[0]
    unknown = {f"{HOME}/.ssh/{name}" for name in ("id_ecdsa_sk", "id_ed25519_sk", "id_xmss", "id_dsa")}
    return {
        "hostname": values["hostname"][0],
        "port": values["port"][0],
        "user": values["user"][0]
        if values["user"][0] != getpass.getuser()
        else pwd.getpwuid(os.getuid()).pw_name,
        "identityfile": [one for one in files if one not in unknown],
        "identitiesonly": values["identitiesonly"][0],
        "connecttimeout": values["connecttimeout"][0],
        "proxyjump": jump,
        "hops": 0 if jump is None else jump.count(",") + 1,
    }
