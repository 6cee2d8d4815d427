"""Which algorithms we offer, and what to report if a server has none of them."""

from collections.abc import Sequence
from typing import Any

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.settings import SSHSettings
from pylon.monitor.ssh.texts import printable

WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-md5", "hmac-md5-96", "hmac-sha1-96"],
}

# In the order in which a server lists them at the start of a connection.
_OFFERED = ("key exchanges", "host key algorithms", "ciphers", "ciphers", "MACs", "MACs")
_LONGEST = 600


class Agreement:
    """Sets what a connection offers: what ssh_config lets it, as far as paramiko has it.

    Args:
        settings: of the server.
        options: paramiko's SecurityOptions of the connection.

    Raises:
        MonitorSettingError: ssh_config leaves nothing that paramiko has.
    """

    # Any: paramiko has no types.
    def __init__(self, settings: SSHSettings, options: Any) -> None:  # noqa: ANN401
        self._name = settings.name
        wanted = settings.algorithms
        self._options = options
        options.kex = self._both(options.kex, wanted.key_exchanges, "KexAlgorithms")
        options.digests = self._both(options.digests, wanted.macs, "MACs")
        options.key_types = self._both(options.key_types, wanted.host_keys, "HostKeyAlgorithms")
        # One pass over the data in place of two: a third less time for each frame.
        ciphers = self._both(options.ciphers, wanted.ciphers, "Ciphers")
        options.ciphers = sorted(ciphers, key=lambda one: "gcm" not in one)

    def prefer_host_keys(self, known: Sequence[str]) -> None:
        """Ask for these algorithms first, of those that are offered."""
        offered = self._options.key_types
        first = [one for one in known if one in offered]
        self._options.key_types = [*first, *(one for one in offered if one not in first)]

    def missing(self, lists: Sequence[Sequence[str]]) -> str:
        """What the two sides have not in common, from the lists that the server sent; "" if nothing."""
        ours = (
            self._options.kex,
            self._options.key_types,
            *[self._options.ciphers] * 2,
            *[self._options.digests] * 2,
        )
        found = [
            f"no {what} in common: the server has {', '.join(theirs)}; here are {', '.join(mine)}"
            for what, theirs, mine in zip(_OFFERED, lists, ours, strict=False)
            if not set(theirs) & set(mine)
        ]
        return printable("; ".join(dict.fromkeys(found)), _LONGEST)

    def _both(self, ours: Sequence[str], wanted: Sequence[str] | None, keyword: str) -> list[str]:
        both = [one for one in ours if wanted is None or one in wanted]
        if not both:
            raise MonitorSettingError(
                f"{keyword} of {self._name!r}: {','.join(wanted or ())!r}, expected one of {', '.join(ours)}"
                " among them: others are not supported here."
            )
        return both


def refused_logins(accepted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Those of paramiko's `known` signatures that PubkeyAcceptedAlgorithms leaves out."""
    return [] if accepted is None else [one for one in known if one not in accepted]
