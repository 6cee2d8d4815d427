"""Whether a server is the one that is meant: its host key against the known ones."""

from pylon.monitor.ssh.errors import HostKeyChangedError, HostKeyUnknownError
from pylon.monitor.ssh.known_hosts import AUTHORITY, REVOKED, HostKey, KnownKey, known_keys, note
from pylon.monitor.ssh.public_keys import algorithms_of, rsa_bits
from pylon.monitor.ssh.revoked_keys import refuse_revoked
from pylon.monitor.ssh.settings import HostKeyPolicy, SSHSettings


class HostKeyCheck:
    """Checks the key of one server.

    Args:
        settings: of the server.
        policy: what to do about one that is not known, unless ssh_config decides it.

    Raises:
        HostKeyUnknownError: a file of known keys cannot be read: it may revoke keys.
    """

    def __init__(self, settings: SSHSettings, policy: HostKeyPolicy) -> None:
        self._settings = settings
        self._policy = settings.host_key_policy or policy
        self._known = self._read(settings.host_key_name)

    def wanted_algorithms(self) -> list[str]:
        """The algorithms to ask for first.

        A server has several keys. Were another asked for than the known one, it would look changed.
        """
        kinds = [one.key.kind for one in self._known if not one.marker]
        if not kinds and self._settings.host_key_fallback_name is not None:
            fallback = self._read(self._settings.host_key_fallback_name)
            kinds = [one.key.kind for one in fallback if not one.marker]
        algorithms = [name for kind in kinds for name in algorithms_of(kind)]
        return list(dict.fromkeys(algorithms))

    def check(self, key: HostKey) -> None:
        """Return if `key` is the server's, or is now noted as such.

        Raises:
            HostKeyChangedError: another key is known, or this one is revoked.
            HostKeyUnknownError: none is known, and it is not accepted or cannot be noted; or it is too
                short, or whether it is revoked cannot be found out.
        """
        bits = rsa_bits(key.blob)
        if bits is not None and bits < self._settings.least_rsa_bits:
            raise HostKeyUnknownError(
                f"{self._server}: its host key {key} has {bits} bits, expected at least"
                f" {self._settings.least_rsa_bits} (RequiredRSASize)."
            )
        if self._settings.revoked_host_keys is not None:
            refuse_revoked(self._settings.revoked_host_keys, key, self._server)
        if self._is_known(key):
            return
        if self._policy is not HostKeyPolicy.ACCEPT_NEW:
            raise HostKeyUnknownError(
                f"{self._server}: its host key {key} is not known{self._authorities()}. If it is the right"
                f" one, log in once with ssh, or use {HostKeyPolicy.ACCEPT_NEW.value!r}."
            )
        path = self._settings.noted_in
        if path is None:
            raise HostKeyUnknownError(f"{self._server}: there is no UserKnownHostsFile to note {key} in.")
        try:
            note(
                path,
                self._settings.host_key_name,
                key,
                hashed=self._settings.hash_names,
                check=lambda: not self._is_known_by_now(key),
            )
        except OSError as error:
            raise HostKeyUnknownError(
                f"{self._server}: its host key {key} cannot be noted in {path}: {error}."
            ) from error

    @property
    def _server(self) -> str:
        return f"{self._settings.name} ({self._settings.host_key_name})"

    def _is_known_by_now(self, key: HostKey) -> bool:
        """Whether another process noted it, or another key, since we looked."""
        self._known = self._read(self._settings.host_key_name)
        return self._is_known(key)

    def _is_known(self, key: HostKey) -> bool:
        for one in self._known:
            if one.marker == REVOKED and one.key == key:
                raise HostKeyChangedError(f"{self._server}: its host key {key} is revoked: {one.where}.")
        plain = [one for one in self._known if not one.marker]
        if any(one.key == key for one in plain):
            return True
        if plain:
            listed = "; ".join(f"{one.key} in {one.where}" for one in plain)
            raise HostKeyChangedError(
                f"{self._server}: its host key changed: it shows {key}, known is {listed}. Another machine"
                " may answer in its place. If the server was set up from scratch, remove those lines."
            )
        return self._is_known_without_port(key)

    def _is_known_without_port(self, key: HostKey) -> bool:
        name = self._settings.host_key_fallback_name
        if name is None:
            return False
        found = self._read(name)
        if any(one.marker == REVOKED and one.key == key for one in found):
            raise HostKeyChangedError(f"{self._server}: its host key {key} is revoked for {name}.")
        return any(not one.marker and one.key == key for one in found)

    def _authorities(self) -> str:
        found = [one.where for one in self._known if one.marker == AUTHORITY]
        return f" (and {AUTHORITY} is not supported: {', '.join(found)})" if found else ""

    def _read(self, name: str) -> list[KnownKey]:
        try:
            return list(known_keys(self._settings.known_hosts_files, name))
        except OSError as error:
            raise HostKeyUnknownError(
                f"{self._settings.name}: known host keys cannot be read: {error}."
            ) from error
