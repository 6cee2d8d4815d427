"""Every keyword of ssh_config has a fate, and none that makes ssh refuse a server is passed over."""

import re
import subprocess
from pathlib import Path

import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import Resolver, ServerName
from pylon.monitor.ssh.answer import Answer
from pylon.monitor.ssh.keywords import NO_EFFECT, OBEYED, OBEYED_BY_SSH, REFUSES, fate
from pylon.monitor.ssh.resolution import resolve
from tests.monitor.ssh.helpers import require_ssh

DECISION = Path(__file__).parents[3] / "docs/decisions/0016-ask-ssh.md"

# ssh_config(5) of OpenSSH 10.2, apart from those that `ssh -G` of the installed version prints.
KEYWORDS = """
    AddKeysToAgent AddressFamily BatchMode BindAddress BindInterface CanonicalDomains
    CanonicalizeFallbackLocal CanonicalizeHostname CanonicalizeMaxDots CanonicalizePermittedCNAMEs
    CASignatureAlgorithms CertificateFile ChannelTimeout CheckHostIP Ciphers ClearAllForwardings Compression
    ConnectionAttempts ConnectTimeout ControlMaster ControlPath ControlPersist DynamicForward
    EnableEscapeCommandline EnableSSHKeysign EscapeChar ExitOnForwardFailure FingerprintHash
    ForkAfterAuthentication ForwardAgent ForwardX11 ForwardX11Timeout ForwardX11Trusted GatewayPorts
    GlobalKnownHostsFile GSSAPIAuthentication GSSAPIDelegateCredentials HashKnownHosts Host
    HostbasedAcceptedAlgorithms HostbasedAuthentication HostKeyAlgorithms HostKeyAlias Hostname
    IdentitiesOnly IdentityAgent IdentityFile IgnoreUnknown Include IPQoS KbdInteractiveAuthentication
    KbdInteractiveDevices KexAlgorithms KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs
    Match NoHostAuthenticationForLocalhost NumberOfPasswordPrompts ObscureKeystrokeTiming
    PasswordAuthentication PermitLocalCommand PermitRemoteOpen PKCS11Provider Port PreferredAuthentications
    ProxyCommand ProxyJump ProxyUseFdpass PubkeyAcceptedAlgorithms PubkeyAuthentication RefuseConnection
    RekeyLimit RemoteCommand RemoteForward RequestTTY RequiredRSASize RevokedHostKeys SecurityKeyProvider
    SendEnv ServerAliveCountMax ServerAliveInterval SessionType SetEnv StdinNull StreamLocalBindMask
    StreamLocalBindUnlink StrictHostKeyChecking SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice
    UpdateHostKeys User UserKnownHostsFile VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto
    XAuthLocation
"""


def keywords_of_ssh() -> set[str]:
    """What `ssh -G` prints here."""
    require_ssh()
    output = subprocess.run(
        ["ssh", "-F", "none", "-G", "gpu1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    ).stdout
    return {line.split()[0].lower() for line in output.splitlines()}


def test_each_keyword_that_ssh_prints_has_a_fate() -> None:
    printed = keywords_of_ssh()
    assert len(printed) > 50
    assert {one for one in printed if fate(one) is None} == set()


def test_each_keyword_of_the_manual_has_a_fate() -> None:
    assert {one for one in KEYWORDS.split() if fate(one) is None} == set()


def test_each_keyword_has_one_fate() -> None:
    groups = [OBEYED, OBEYED_BY_SSH, " ".join(REFUSES), *NO_EFFECT.values()]
    listed = [one for group in groups for one in group.split()]
    assert sorted(listed) == sorted(set(listed))


def test_decision_lists_each_keyword_once_under_its_fate() -> None:
    fates = {}
    for line in DECISION.read_text(encoding="utf-8").splitlines():
        row = re.fullmatch(r"\| (obeyed|no effect|refuses)[^|]*\| ([^|]*) \|[^|]*\|", line)
        for one in row.group(2).split() if row else ():
            assert one.lower() not in fates, one
            fates[one.lower()] = row.group(1) if row else ""
    listed = {one for group in (OBEYED, OBEYED_BY_SSH, *NO_EFFECT.values()) for one in group.split()}
    assert fates == {one: fate(one) for one in listed | set(REFUSES)}


@pytest.mark.parametrize("keyword", OBEYED.split())
def test_obeyed_keyword_changes_what_we_do(keyword: str) -> None:
    values = {
        "hostname": "10.0.0.9",
        "port": "9",
        "user": "bob",
        "addressfamily": "inet6",
        "connecttimeout": "9",
        "requiredrsasize": "9000",
        "stricthostkeychecking": "yes",
        "hashknownhosts": "yes",
        "identitiesonly": "yes",
        "proxyjump": "hop",
    }
    plain = {"user": ("me",), "port": ("22",), "hostname": ("gpu1",)}

    def asker(changed: dict[str, tuple[str, ...]]) -> object:
        hop = Answer(plain)
        return lambda name: Answer(plain | changed) if name.host == "gpu1" else hop

    name = ServerName("gpu1")
    before = resolve(name, asker({}), {})
    after = resolve(name, asker({keyword: (values.get(keyword, "/changed"),)}), {})
    assert before != after


@pytest.mark.parametrize(
    "line",
    [
        "BindInterface lo",
        "CheckHostIP yes",
        "KnownHostsCommand /bin/true %H",
        "PreferredAuthentications password,keyboard-interactive",
        "ProxyUseFdpass yes",
        "PubkeyAuthentication no",
    ],
)
def test_keyword_that_we_cannot_obey_refuses_the_server_by_name(line: str, tmp_path: Path) -> None:
    keywords_of_ssh()
    config = tmp_path / "config"
    config.write_text(f"Host gpu1 hop\n  {line}\nHost behind\n  ProxyJump hop\n")
    resolver = Resolver(config)
    for name in ("gpu1", "behind"):
        with pytest.raises(MonitorSettingError) as caught:
            resolver.resolve(ServerName(name))
        assert f"{line.split(maxsplit=1)[0].lower()} is " in str(caught.value)
        assert "which is not supported; expected" in str(caught.value)
    assert resolver.resolve(ServerName("other")).host == "other"
