"""Host keys: who is let through, who is not, and what is written where."""

import multiprocessing
import os
import resource
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.ssh import (
    HostKeyChangedError,
    HostKeyPolicy,
    HostKeyUnknownError,
    SSHSettings,
    open_channel,
)
from pylon.monitor.ssh.host_keys import HostKeyCheck
from pylon.monitor.ssh.known_hosts import HostKey, known_keys, note, pattern_list_matches
from tests.monitor.ssh.helpers import failure, nothing_left, settings_for
from tests.monitor.ssh.sshd import Sshd, make_key, public_line, require_sshd

pytestmark = pytest.mark.slow

ACCEPT_NEW = HostKeyPolicy.ACCEPT_NEW


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, HostKey]:
    require_sshd()
    folder = tmp_path_factory.mktemp("keys")
    kinds = {"ed": "ed25519", "other": "ed25519", "third": "ed25519", "rsa": "rsa", "ecdsa": "ecdsa"}
    return {name: host_key(make_key(folder / name, kind)) for name, kind in kinds.items()}


def host_key(private: Path) -> HostKey:
    import base64

    kind, text = public_line(private).split()
    return HostKey(kind, base64.b64decode(text))


def line(names: str, key: HostKey, marker: str = "") -> str:
    import base64

    return f"{marker} {names} {key.kind} {base64.b64encode(key.blob).decode()} comment\n".lstrip()


def settings(known: Path, name: str = "gpu1", **changes: object) -> SSHSettings:
    base = SSHSettings(
        "gpu1", "gpu1", 22, "me", host_key_name=name, known_hosts_files=(known,), noted_in=known
    )
    return replace(base, **changes)


def strict(known: Path, key: HostKey, name: str = "gpu1", **changes: object) -> None:
    HostKeyCheck(settings(known, name, **changes), HostKeyPolicy.STRICT).check(key)


def test_fingerprint_is_the_one_that_ssh_keygen_shows(tmp_path) -> None:
    require_sshd()
    key = make_key(tmp_path / "key")
    shown = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout
    assert host_key(key).fingerprint == shown.split()[1]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("gpu1", "gpu1"),
        ("other,gpu1,10.0.0.1", "gpu1"),
        ("GPU1", "gpu1"),
        ("*.lan", "gpu1.lan"),
        ("gpu?", "gpu1"),
        ("[gpu1]:2222", "[gpu1]:2222"),
        ("[*.lan]:2222", "[gpu1.lan]:2222"),
    ],
)
def test_known_under_its_name_or_a_pattern(names, name, keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text("# comment\n\nnonsense\ngpu1 ssh-ed25519 ???\n" + line(names, keys["ed"]))
    strict(known, keys["ed"], name)


@pytest.mark.parametrize("names", ["gpu2", "*,!gpu1", "[gpu1]:22", "gpu", "gpu1x"])
def test_not_known_under_another_name(names, keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line(names, keys["ed"]))
    with pytest.raises(HostKeyUnknownError, match="SHA256:") as caught:
        strict(known, keys["ed"])
    assert caught.value.permanent


@pytest.mark.parametrize("name", ["gpu1", "[gpu1]:2222"])
def test_hashed_by_openssh_and_by_us(name, keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line(f"other,{name}", keys["ed"]))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert "gpu1" not in known.read_text()
    strict(known, keys["ed"], name)
    ours = tmp_path / "ours"
    note(ours, name, keys["ed"], hashed=True, check=lambda: True)
    assert "gpu1" not in ours.read_text()
    found = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", ours], capture_output=True, text=True, check=True
    ).stdout
    assert "found: line 1" in found


def test_changed_key_names_both_and_the_line_and_is_never_accepted(keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text("# first\n" + line("gpu1", keys["ed"]))
    for policy in HostKeyPolicy:
        with pytest.raises(HostKeyChangedError) as caught:
            HostKeyCheck(settings(known), policy).check(keys["other"])
        assert caught.value.permanent
        for words in (keys["ed"].fingerprint, keys["other"].fingerprint, f"{known}:2", "gpu1"):
            assert words in str(caught.value)
    assert len(known.read_text().splitlines()) == 2


def test_another_kind_than_the_known_one_is_a_changed_key(keys, tmp_path) -> None:
    # A server in between could otherwise show a kind that is not known yet.
    known = tmp_path / "known"
    known.write_text(line("gpu1", keys["ed"]))
    for policy in HostKeyPolicy:
        with pytest.raises(HostKeyChangedError):
            HostKeyCheck(settings(known), policy).check(keys["rsa"])


def test_one_of_several_known_keys_is_enough(keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line("gpu1", keys["ed"]) + line("gpu1", keys["other"]) + line("gpu1", keys["rsa"]))
    strict(known, keys["other"])
    wanted = HostKeyCheck(settings(known), ACCEPT_NEW).wanted_algorithms()
    assert wanted == ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]


def test_revoked_key_is_refused_even_if_known(keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line("gpu1", keys["ed"]) + line("*", keys["ed"], "@revoked"))
    for policy in HostKeyPolicy:
        with pytest.raises(HostKeyChangedError, match=r"is revoked: .*known:2"):
            HostKeyCheck(settings(known), policy).check(keys["ed"])


def test_authority_is_named_as_not_supported(keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line("gpu1", keys["other"], "@cert-authority"))
    with pytest.raises(HostKeyUnknownError, match=r"@cert-authority is not supported: .*known:1"):
        strict(known, keys["ed"])


def test_key_known_without_the_port_counts_and_another_one_there_does_not(keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line("gpu1", keys["ed"]))
    changes = {"host_key_fallback_name": "gpu1"}
    strict(known, keys["ed"], "[gpu1]:2222", **changes)
    with pytest.raises(HostKeyUnknownError):
        strict(known, keys["other"], "[gpu1]:2222", **changes)


def test_unreadable_file_is_no_empty_file(keys, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(HostKeyUnknownError, match="cannot be read"):
        strict(tmp_path / "folder", keys["ed"])


def test_new_key_is_noted_once_with_mode_600(keys, tmp_path) -> None:
    known = tmp_path / "new" / "known"
    for _ in range(2):
        HostKeyCheck(settings(known, "[gpu1]:2222"), ACCEPT_NEW).check(keys["ed"])
    assert known.read_text() == line("[gpu1]:2222", keys["ed"]).replace(" comment", "")
    assert known.stat().st_mode & 0o777 == 0o600
    assert known.parent.stat().st_mode & 0o777 == 0o700
    strict(known, keys["ed"], "[gpu1]:2222")


def test_line_without_an_end_is_not_run_into(keys, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text(line("gpu2", keys["other"]).rstrip("\n"))
    HostKeyCheck(settings(known), ACCEPT_NEW).check(keys["ed"])
    strict(known, keys["ed"])
    assert [one.key for one in known_keys([known], "gpu2")] == [keys["other"]]


def test_key_noted_by_another_process_meanwhile_is_looked_at(keys, tmp_path) -> None:
    known = tmp_path / "known"
    check = HostKeyCheck(settings(known), ACCEPT_NEW)
    known.write_text(line("gpu1", keys["other"]))
    with pytest.raises(HostKeyChangedError):
        check.check(keys["ed"])
    assert len(known.read_text().splitlines()) == 1


@pytest.mark.parametrize("kind", ["symlink", "fifo", "world writable", "world writable folder", "locked"])
def test_is_not_noted_in_a_place_that_is_not_ours(kind, keys, tmp_path) -> None:
    import fcntl

    folder = tmp_path / "folder"
    folder.mkdir()
    known = folder / "known"
    victim = tmp_path / "victim"
    victim.write_text("")
    holder = None
    if kind == "symlink":
        known.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(known)
    elif kind == "locked":
        holder = known.open("w")
        fcntl.flock(holder, fcntl.LOCK_EX)
    else:
        known.write_text("")
        (folder if "folder" in kind else known).chmod(0o777)
    with pytest.raises(HostKeyUnknownError, match="cannot be noted"):
        # The file itself is not among those that are read: a fifo would not end.
        HostKeyCheck(settings(known, known_hosts_files=()), ACCEPT_NEW).check(keys["ed"])
    assert victim.read_text() == ""
    if holder is not None:
        holder.close()


def test_full_disk_leaves_no_half_line(keys, tmp_path) -> None:
    known = tmp_path / "known"
    before = line("gpu2", keys["other"])
    known.write_text(before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
        with pytest.raises(HostKeyUnknownError, match="cannot be noted"):
            HostKeyCheck(settings(known), ACCEPT_NEW).check(keys["ed"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert known.read_text() == before


def test_no_file_to_note_in(keys, tmp_path) -> None:
    with pytest.raises(HostKeyUnknownError, match="no UserKnownHostsFile"):
        HostKeyCheck(settings(tmp_path / "known", noted_in=None), ACCEPT_NEW).check(keys["ed"])


def _note_all(known: Path, key: HostKey, first: int) -> None:
    for number in range(20):
        for name in (f"host{number}", f"own{first}x{number}"):
            HostKeyCheck(settings(known, name), ACCEPT_NEW).check(key)


def test_many_processes_note_at_once(keys, tmp_path) -> None:
    known = tmp_path / "known"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_note_all, args=(known, keys["ed"], one)) for one in range(4)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    names = [text.split()[0] for text in known.read_text().splitlines()]
    assert len(names) == len(set(names)) == 20 + 4 * 20


def test_strict_and_accept_new_with_a_real_server(sshd: Sshd, tmp_path) -> None:
    config = sshd.client_config(known_hosts="")
    with nothing_left():
        failure(settings_for(config), HostKeyUnknownError)
        channel = open_channel(settings_for(config), b"cat", policy=ACCEPT_NEW)
        assert channel.host_key == host_key(sshd.host_keys["ed25519"]).fingerprint
        channel.close()
        open_channel(settings_for(config), b"cat").close()
        sshd.change_host_keys()
        for policy in HostKeyPolicy:
            error = failure(settings_for(config), HostKeyChangedError, policy=policy)
            assert "ssh_config_known_hosts:1" in str(error)
    # The server saw no name of ours: the key is checked before the login.
    assert sshd.log().count("Accepted publickey") == 2
    assert "Failed" not in sshd.log()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_server_with_several_keys_shows_the_known_one(kind, shared_sshd, tmp_path) -> None:
    known = shared_sshd.known_hosts(kinds=[kind])
    config = shared_sshd.client_config(tmp_path / "config", known_hosts=known)
    channel = open_channel(settings_for(config), b"cat")
    assert channel.host_key == host_key(shared_sshd.host_keys[kind]).fingerprint
    channel.close()


def test_host_key_alias(shared_sshd, tmp_path) -> None:
    known = shared_sshd.known_hosts(["rack-7"])
    config = shared_sshd.client_config(tmp_path / "config", known_hosts=known, extra="HostKeyAlias Rack-7\n")
    open_channel(settings_for(config), b"cat").close()
    other = shared_sshd.client_config(tmp_path / "other", known_hosts=known)
    failure(settings_for(other), HostKeyUnknownError)


def test_file_that_openssh_wrote_and_one_that_we_wrote(shared_sshd, tmp_path) -> None:
    config = shared_sshd.client_config(tmp_path / "config", known_hosts="", extra="HashKnownHosts yes\n")
    known = tmp_path / "config_known_hosts"
    ssh = ["ssh", "-F", config, "-o", "BatchMode=yes"]
    command = [*ssh, "-o", "StrictHostKeyChecking=accept-new", "127.0.0.1", "true"]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    assert known.read_text().startswith("|1|")
    open_channel(settings_for(config), b"cat").close()
    known.write_text("")
    open_channel(settings_for(config), b"cat", policy=ACCEPT_NEW).close()
    assert known.read_text().startswith("|1|")
    command = [*ssh, "-o", "StrictHostKeyChecking=yes", "127.0.0.1", "true"]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


@given(st.text("ab*?!,", max_size=8), st.text("ab", max_size=4))
def test_patterns_know_no_other_signs(patterns, text) -> None:
    import fnmatch

    parts = patterns.split(",")
    positive = any(fnmatch.fnmatchcase(text, one) for one in parts if not one.startswith("!"))
    negative = any(fnmatch.fnmatchcase(text, one[1:]) for one in parts if one.startswith("!"))
    assert pattern_list_matches(text, patterns) == (positive and not negative)
