"""One sshd for all tests that only look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.ssh.sshd import Sshd, make_key


@pytest.fixture(scope="session")
def shared_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd with three host keys on 127.0.0.1; not to be stopped or changed."""
    with Sshd(
        tmp_path_factory.mktemp("sshd"),
        host_key_kinds=("rsa", "ecdsa", "ed25519"),
        options={"AllowTcpForwarding": "yes"},
    ) as sshd:
        yield sshd


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """An sshd of the test's own."""
    with Sshd(tmp_path / "sshd") as sshd:
        yield sshd


@pytest.fixture(scope="session")
def client_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key."""
    return make_key(tmp_path_factory.mktemp("key") / "id")
