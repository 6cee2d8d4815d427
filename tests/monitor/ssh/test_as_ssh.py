"""A real sshd, ssh and us on one configuration: nothing that ssh refuses is logged in to, and the reverse."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh import (
    HostKeyChangedError,
    HostKeyPolicy,
    HostKeyUnknownError,
    LoginRefusedError,
    NoAlgorithmError,
    SSHError,
    UnreachableError,
    open_channel,
)
from tests.monitor.ssh.helpers import failure, nothing_left, require_ssh, settings_for
from tests.monitor.ssh.sshd import Sshd, make_key, public_line

pytestmark = pytest.mark.ci


@pytest.fixture(autouse=True)
def needs_ssh() -> Iterator[None]:
    require_ssh()
    with nothing_left():
        yield


def keygen(*arguments: str | Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", *map(str, arguments)], check=True, timeout=60, stdin=subprocess.DEVNULL
    )


def ssh_logs_in(config: Path, name: str = "127.0.0.1") -> bool:
    done = subprocess.run(
        ["ssh", "-F", config, "-o", "BatchMode=yes", "-o", "ControlPath=none", name, "true"],
        capture_output=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def logs_in(config: Path, name: str = "127.0.0.1", policy: HostKeyPolicy = HostKeyPolicy.STRICT) -> bool:
    try:
        open_channel(settings_for(config, name), b"true", policy=policy).close()
    except (SSHError, MonitorSettingError):
        return False
    return True


@pytest.mark.parametrize("krl", [False, True], ids=["text", "krl"])
def test_revoked_host_key(krl, shared_sshd, tmp_path) -> None:
    revoked = tmp_path / "revoked"
    publics = [f"{key}.pub" for key in shared_sshd.host_keys.values()]
    if krl:
        keygen("-k", "-f", revoked, *publics)
    else:
        revoked.write_text("# ours\n" + "".join(Path(one).read_text() for one in publics))
    config = shared_sshd.client_config(tmp_path / "config", extra=f"RevokedHostKeys {revoked}\n")
    assert not ssh_logs_in(config)
    assert "is revoked" in str(failure(settings_for(config), HostKeyChangedError))
    failure(settings_for(config), HostKeyChangedError, policy=HostKeyPolicy.ACCEPT_NEW)


def test_key_revocation_list_is_read_without_a_folder_for_temporary_files(
    shared_sshd, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(OSError, match="/proc"), tempfile.NamedTemporaryFile():
        pass
    revoked = tmp_path / "revoked"
    keygen("-k", "-f", revoked, *(f"{key}.pub" for key in shared_sshd.host_keys.values()))
    config = shared_sshd.client_config(tmp_path / "config", extra=f"RevokedHostKeys {revoked}\n")
    assert "is revoked" in str(failure(settings_for(config), HostKeyChangedError))


@pytest.mark.parametrize("krl", [False, True], ids=["text", "krl"])
def test_others_revoked_keys_are_no_obstacle(krl, shared_sshd, tmp_path) -> None:
    revoked = tmp_path / "revoked"
    other = make_key(tmp_path / "other")
    if krl:
        keygen("-k", "-f", revoked, f"{other}.pub")
    else:
        revoked.write_text(public_line(other))
    config = shared_sshd.client_config(tmp_path / "config", extra=f"RevokedHostKeys {revoked}\n")
    assert ssh_logs_in(config)
    assert logs_in(config)


@pytest.mark.parametrize("content", [None, b"SSHKRL\n\0cut off"])
def test_list_of_revoked_keys_that_cannot_be_read_refuses_all(content, shared_sshd, tmp_path) -> None:
    revoked = tmp_path / "revoked"
    if content is not None:
        revoked.write_bytes(content)
    config = shared_sshd.client_config(tmp_path / "config", extra=f"RevokedHostKeys {revoked}\n")
    assert not ssh_logs_in(config)
    assert "RevokedHostKeys" in str(failure(settings_for(config), HostKeyUnknownError))


@pytest.mark.parametrize(
    ("line", "both"),
    [
        ("PubkeyAuthentication no", False),
        ("PreferredAuthentications password", False),
        ("KnownHostsCommand /bin/false", False),
        ("RequiredRSASize 4096\nHostKeyAlgorithms rsa-sha2-512", False),
        ("HostKeyAlgorithms rsa-sha2-512", True),
        ("HostKeyAlgorithms ssh-ed25519", True),
        ("HostKeyAlgorithms sk-ssh-ed25519@openssh.com", False),
        ("PubkeyAcceptedAlgorithms rsa-sha2-512", False),
        ("PubkeyAcceptedAlgorithms ssh-ed25519", True),
        ("AddressFamily inet6", False),
        ("AddressFamily inet", True),
        ("BindAddress 127.0.0.1", True),
        ("BindAddress 192.0.2.1", False),
        ("Ciphers aes256-gcm@openssh.com", True),
        ("MACs hmac-sha2-512\nCiphers aes128-ctr", True),
        ("KexAlgorithms ecdh-sha2-nistp384", True),
        ("StrictHostKeyChecking yes\nUserKnownHostsFile none", False),
        ("StrictHostKeyChecking yes\nUserKnownHostsFile /dev/null", False),
        ("StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null", True),
        ("StrictHostKeyChecking no\nUserKnownHostsFile /dev/null", True),
        ("HostKeyAlias 127.0.0.1\nHostKeyAlias x", False),
    ],
)
def test_keyword_that_decides(line, both, shared_sshd, tmp_path) -> None:
    config = shared_sshd.client_config(tmp_path / "config", extra=f"{line}\n")
    assert ssh_logs_in(config) is both
    assert logs_in(config) is both


def test_strict_in_the_file_is_stronger_than_accept_new_of_the_caller(shared_sshd, tmp_path) -> None:
    config = shared_sshd.client_config(
        tmp_path / "config", extra="Host 127.0.0.1\n  StrictHostKeyChecking yes\n", known_hosts=""
    )
    assert not logs_in(config, policy=HostKeyPolicy.ACCEPT_NEW)
    assert logs_in(
        shared_sshd.client_config(tmp_path / "config", known_hosts=""), policy=HostKeyPolicy.ACCEPT_NEW
    )


def test_nowhere_to_note_still_refuses_what_other_files_know(shared_sshd, tmp_path) -> None:
    other = tmp_path / "other_known"
    name = f"[127.0.0.1]:{shared_sshd.port}"
    other.write_text(f"{name} {public_line(make_key(tmp_path / 'other'))}\n")
    extra = "UserKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new\n"
    config = shared_sshd.client_config(tmp_path / "config", extra=f"{extra}GlobalKnownHostsFile {other}\n")
    assert not ssh_logs_in(config)
    failure(settings_for(config), HostKeyChangedError)
    config = shared_sshd.client_config(tmp_path / "config", extra=extra)
    assert ssh_logs_in(config)
    for _ in range(2):
        assert logs_in(config)
    assert Path(os.devnull).is_char_device()


def test_changed_key_is_refused_whatever_the_file_allows(shared_sshd, tmp_path) -> None:
    known = f"[127.0.0.1]:{shared_sshd.port} {public_line(make_key(tmp_path / 'other'))}\n"
    config = shared_sshd.client_config(
        tmp_path / "config", extra="StrictHostKeyChecking no\n", known_hosts=known
    )
    failure(settings_for(config), HostKeyChangedError)


PEM = {
    "rsa": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ec": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ed25519": ["genpkey", "-algorithm", "ED25519"],
}


def pkcs8(folder: Path, kind: str, passphrase: str = "") -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path = folder / "pkcs8"
    protection = ["-aes-128-cbc", "-pass", f"pass:{passphrase}"] if passphrase else []
    subprocess.run(
        ["openssl", *PEM[kind], *protection, "-out", path], check=True, timeout=60, capture_output=True
    )
    path.chmod(0o600)
    assert b"PRIVATE KEY" in path.read_bytes()
    return path


def public_of(path: Path) -> str:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(path.read_bytes(), None)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


@pytest.mark.parametrize("kind", list(PEM))
def test_key_in_pkcs8(kind, tmp_path) -> None:
    key = pkcs8(tmp_path, kind)
    with Sshd(tmp_path / "d", authorized=[]) as sshd:
        (tmp_path / "d/authorized_keys").write_text(f"{public_of(key)}\n")
        config = sshd.client_config(extra=f"IdentityFile {key}\n")
        assert logs_in(config)


def test_key_in_pkcs8_with_a_passphrase_is_named_with_the_way_out(tmp_path, shared_sshd) -> None:
    key = pkcs8(tmp_path, "rsa", "secret")
    config = shared_sshd.client_config(tmp_path / "config", extra=f"Host 127.0.0.1\n  IdentityFile {key}\n")
    config.write_text(config.read_text().replace(str(shared_sshd.client_key), str(key)))
    error = failure(settings_for(config), LoginRefusedError)
    assert f"{key} is protected by a passphrase" in str(error)
    assert f"ssh-keygen -p -f {key}" in str(error)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_certificate_elsewhere_than_next_to_the_key(kind, tmp_path) -> None:
    authority = make_key(tmp_path / "authority")
    key = make_key(tmp_path / "key", kind)
    (tmp_path / "certs").mkdir()
    options = {"TrustedUserCAKeys": f"{authority}.pub"}
    with Sshd(tmp_path / "d", authorized=[], options=options) as sshd:
        keygen("-s", authority, "-I", "test", "-n", sshd.user, f"{key}.pub")
        (tmp_path / "key-cert.pub").rename(tmp_path / "certs/other-cert.pub")
        extra = f"IdentityFile {key}\n"
        plain = sshd.client_config(extra=extra)
        config = sshd.client_config(
            tmp_path / "with", extra=f"{extra}CertificateFile {tmp_path}/certs/other-cert.pub\n"
        )
        for one, both in ((plain, False), (config, True)):
            one.write_text(one.read_text().replace(str(sshd.client_key), str(key)))
            assert ssh_logs_in(one) is both
            assert logs_in(one) is both


def test_certificate_that_the_server_does_not_take_leaves_the_key_itself(tmp_path) -> None:
    """The key is authorized itself: ssh offers it after its certificate, which is of no authority there."""
    key, authority = make_key(tmp_path / "key"), make_key(tmp_path / "authority")
    with Sshd(tmp_path / "d", authorized=[key]) as sshd:
        keygen("-s", authority, "-I", "test", "-n", "nobody-here", f"{key}.pub")
        config = sshd.client_config(extra=f"IdentityFile {key}\n")
        config.write_text(config.read_text().replace(str(sshd.client_key), str(key)))
        assert ssh_logs_in(config)
        assert logs_in(config)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"KexAlgorithms": "sntrup761x25519-sha512@openssh.com"},
            "no key exchanges in common: the server has sntrup761x25519-sha512@openssh.com",
        ),
        (
            {"Ciphers": "chacha20-poly1305@openssh.com"},
            "no ciphers in common: the server has chacha20-poly1305@openssh.com; here are aes128-gcm@",
        ),
        (
            {"MACs": "umac-128-etm@openssh.com", "Ciphers": "aes128-ctr"},
            "no MACs in common: the server has umac-128-etm@openssh.com; here are hmac-sha2-256",
        ),
    ],
)
def test_algorithms_that_are_missing_here_are_named_for_both_sides(options, what, tmp_path) -> None:
    with Sshd(tmp_path / "d", options=options) as sshd:
        error = failure(settings_for(sshd.client_config()), NoAlgorithmError)
    assert what in str(error)


def test_server_with_sha1_only_is_named(tmp_path) -> None:
    options = {"HostKeyAlgorithms": "ssh-rsa"}
    with Sshd(tmp_path / "d", host_key_kinds=("rsa",), options=options) as sshd:
        config = sshd.client_config(extra="HostKeyAlgorithms +ssh-rsa\n")
        error = failure(settings_for(config), NoAlgorithmError)
    assert "no host key algorithms in common: the server has ssh-rsa; here are " in str(error)


def test_list_without_a_cipher_of_ours_is_a_setting(shared_sshd, tmp_path) -> None:
    config = shared_sshd.client_config(tmp_path / "config", extra="Ciphers chacha20-poly1305@openssh.com\n")
    with pytest.raises(MonitorSettingError, match=r"Ciphers of '127.0.0.1': 'chacha20.*expected one of"):
        open_channel(settings_for(config), b"true")


def test_no_address_of_the_wanted_family(shared_sshd, tmp_path) -> None:
    config = shared_sshd.client_config(tmp_path / "config", extra="AddressFamily inet6\n")
    assert "AddressFamily" in str(failure(settings_for(config), UnreachableError))


def as_windows(text: str) -> str:
    return text.replace("\n", "\r\n")


def with_comments(text: str) -> str:
    return text.replace("HostName 127.0.0.1\n", "HostName 127.0.0.1 # here\n")


@pytest.mark.parametrize("change", [as_windows, with_comments])
def test_ssh_config_as_editors_leave_it(change, shared_sshd, tmp_path) -> None:
    config = shared_sshd.client_config(tmp_path / "config", hosts={"gpu1": "127.0.0.1"})
    before = config.read_text()
    config.write_text(change(before), newline="")
    assert config.read_bytes() != before.encode()
    assert ssh_logs_in(config, "gpu1")
    assert logs_in(config, "gpu1")


def test_ssh_config_that_begins_with_a_byte_order_mark_is_refused_by_file_and_line(
    shared_sshd, tmp_path
) -> None:
    config = shared_sshd.client_config(tmp_path / "config")
    config.write_text("\ufeff" + config.read_text().lstrip())
    assert not ssh_logs_in(config)
    with pytest.raises(MonitorSettingError, match=r"config: line 1: Bad configuration option: "):
        settings_for(config)


def test_lines_of_known_hosts_that_are_none_cost_no_other(shared_sshd, tmp_path) -> None:
    nonsense = "garbage\n@revoked\n127.0.0.1 ssh-ed25519\n|1|bad|bad ssh-rsa AAAA\n* ssh-rsa !!\n\0\n"
    sound = as_windows(shared_sshd.known_hosts())
    config = shared_sshd.client_config(tmp_path / "config", known_hosts=nonsense + sound)
    assert ssh_logs_in(config)
    assert logs_in(config)
