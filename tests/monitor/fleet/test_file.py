"""fleet.toml: what it gives, and that everything wrong with it is reported at once."""

from pathlib import Path

import pytest

from pylon.monitor import SystemMonitor
from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.fleet.file import Fleet, FleetError

WHOLE = """
interval_s = 5
timeout_s = 2.5
slow_interval_s = 30.0
window_size = 20
hosts_per_process = 10
gpu = false
host_keys = "accept-new"
ssh_config = "ssh_config"
servers = ["localhost", "alice@gpu1", "gpu2:2222"]

[[server]]
name = "big"
address = "bob@10.0.0.5"
tags = ["a100", "nvlink"]

[[server]]
address = "gpu7"
tags = ["a100"]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "ssh_config").write_text("Host gpu1 same\n  HostName 10.0.0.1\n")
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_whole_file_is_what_a_monitor_takes(tmp_path: Path) -> None:
    fleet = Fleet.load(write(tmp_path, WHOLE))
    assert fleet.servers == {
        "localhost": "localhost",
        "alice@gpu1": "alice@gpu1",
        "gpu2:2222": "gpu2:2222",
        "big": "bob@10.0.0.5",
        "gpu7": "gpu7",
    }
    assert fleet.tags["big"] == ("a100", "nvlink")
    assert fleet.settings["ssh_config"] == tmp_path / "ssh_config"
    assert fleet.settings["interval_s"] == 5
    SystemMonitor(fleet.servers, **fleet.settings)


def test_servers_are_chosen_by_tag(tmp_path: Path) -> None:
    fleet = Fleet.load(write(tmp_path, WHOLE))
    assert list(fleet.with_tags(["a100"]).servers) == ["big", "gpu7"]
    assert list(fleet.with_tags(["a100", "nvlink"]).servers) == ["big"]
    with pytest.raises(MonitorSettingError, match="tags here: a100, nvlink"):
        fleet.with_tags(["h100"])


def test_everything_wrong_is_reported_at_once_with_place_value_and_what_was_expected(tmp_path: Path) -> None:
    text = """
intervall_s = 5
timeout_s = true
window_size = 0
host_keys = "no"
gpu = 1
servers = ["localhost", "bad host", 3, "gpu1", "gpu1"]
[[server]]
nme = "x"
[[server]]
name = "localhost"
address = "10.0.0.1:99999"
tags = "a100"
"""
    with pytest.raises(FleetError) as caught:
        Fleet.load(write(tmp_path, text))
    found = {problem.key_path: str(problem) for problem in caught.value.problems}
    assert (
        found["intervall_s"] == "intervall_s is 5: a fleet file does not take it; did you mean 'interval_s'?"
    )
    assert found["timeout_s"] == "timeout_s is True: expected seconds above 0"
    assert found["window_size"] == "window_size is 0: expected a whole number from 1 on"
    assert found["host_keys"] == "host_keys is 'no': expected 'strict' or 'accept-new'"
    assert found["gpu"] == "gpu is 1: expected true or false"
    assert found["servers.1"].startswith("servers.1 is 'bad host': expected localhost, host, user@host")
    assert found["servers.2"].startswith("servers.2 is 3: expected a text")
    assert found["servers.4"] == "servers.4 is 'gpu1': is at servers.3 too; expected it once"
    assert found["server.0.nme"] == "server.0.nme is 'x': a server does not take it; did you mean 'name'?"
    assert found["server.0.address"] == "server.0.address: is missing; expected [user@]host[:port]"
    assert "'10.0.0.1:99999'" in found["server.1.address"]
    assert "'localhost' for this machine" in found["server.1.name"]
    assert found["server.1.tags"] == "server.1.tags is 'a100': expected a list of texts"
    assert str(caught.value).startswith(f"{tmp_path}/fleet.toml: 13 problems\n")


@pytest.mark.parametrize("other", ["same", "bob@gpu1", "10.0.0.1:22"])
def test_one_address_under_two_names_is_an_error(tmp_path: Path, other: str) -> None:
    text = f'ssh_config = "ssh_config"\nservers = ["gpu1", "{other}"]'
    with pytest.raises(FleetError, match=r"servers.1 .* is 10\.0\.0\.1:22, and so is servers\.0 \(gpu1\)"):
        Fleet.load(write(tmp_path, text))


def test_one_host_at_two_ports_is_two_servers(tmp_path: Path) -> None:
    assert len(Fleet.load(write(tmp_path, 'servers = ["gpu1:1", "gpu1:2"]')).servers) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servers = [", "cannot be read"),
        ("", "servers: is missing"),
        ("servers = []", "servers: is missing"),
        ('servers = "gpu1"', "servers is 'gpu1': expected a list"),
        ("server = 3", r"server is 3: expected tables: \[\[server\]\]"),
        ('ssh_config = "elsewhere"\nservers = ["gpu1"]', "ssh_config is .*elsewhere.*expected a file"),
    ],
)
def test_file_without_content(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(FleetError, match=expected):
        Fleet.load(write(tmp_path, text))


def test_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"cannot be read: .*No such file"):
        Fleet.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FleetError, match="cannot be read"):
        Fleet.load(tmp_path / "binary.toml")


def test_server_that_ssh_config_is_wrong_about_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 'ssh_config = "ssh_config"\nservers = ["gpu1", "odd"]')
    (tmp_path / "ssh_config").write_text("Host odd\n  PubkeyAuthentication no\n")
    with pytest.raises(FleetError, match=r"servers\.1 is 'odd': .*pubkeyauthentication") as caught:
        Fleet.load(path)
    assert len(caught.value.problems) == 1


def test_line_that_ssh_does_not_understand_is_reported_once(tmp_path: Path) -> None:
    path = write(tmp_path, 'ssh_config = "ssh_config"\nservers = ["gpu1", "gpu2", "gpu3"]')
    (tmp_path / "ssh_config").write_text("Host odd\n  Port ninety\n")
    with pytest.raises(FleetError, match=r"ssh_config line 2: .*ninety") as caught:
        Fleet.load(path)
    assert len(caught.value.problems) == 1


def test_home_of_nobody_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 'ssh_config = "~no-such-user/cfg"\nservers = ["gpu1"]')
    with pytest.raises(FleetError, match=r"ssh_config is '~no-such-user/cfg': expected the path of a file"):
        Fleet.load(path)


@pytest.mark.parametrize("file", ["fleet.toml", "ssh_config"])
def test_file_that_others_can_write_starts_no_program(tmp_path: Path, file: str) -> None:
    path = write(tmp_path, 'ssh_config = "ssh_config"\nservers = ["gpu1"]')
    (tmp_path / "ssh_config").write_text(f'Match exec "touch {tmp_path}/ran"\n  Port 3\n')
    (tmp_path / file).chmod(0o666)
    with pytest.raises(FleetError, match=rf"{file}.*no other user can write.*chmod go-w"):
        Fleet.load(path)
    assert not (tmp_path / "ran").exists()
    (tmp_path / file).chmod(0o644)
    Fleet.load(path)
    assert (tmp_path / "ran").exists()


def test_fleet_file_without_an_ssh_config_may_be_shared(tmp_path: Path) -> None:
    path = write(tmp_path, 'servers = ["gpu1"]')
    path.chmod(0o666)
    assert list(Fleet.load(path).servers) == ["gpu1"]


def test_this_machine_alone_takes_no_ssh_and_no_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert list(Fleet.load(write(tmp_path, 'servers = ["localhost"]')).servers) == ["localhost"]
    with pytest.raises(FleetError, match="has no entry in the user database"):
        Fleet.load(write(tmp_path, 'servers = ["localhost", "gpu1"]'))
