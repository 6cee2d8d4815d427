"""The door to SSH: a server's name in, a channel to its shell out. Nothing else imports paramiko.

server_name     what the user wrote                 known_hosts     the files of known host keys
resolver        what ssh's configuration makes      revoked_keys    and of those that are refused
                of it, kept until a file changes    host_keys       whether the server is the one meant
ask_ssh         how it is asked: ssh -G             identities      which keys of ours are offered
without_ssh     how, if there is no ssh             key_files       those in files
keywords        which keywords we obey              agent           those that an agent holds
resolution      from keywords to settings           agreement       which algorithms are offered
connection      all hops, under one deadline        session         one hop: greeting, keys, login
far_channel     what the caller talks through       wire            the socket that enforces the limits
                                                    proxy_command   the program in a socket's place

Importing this loads no paramiko: `open_channel` does, when it is first called.
"""

from pylon.monitor.ssh.connection import open_channel
from pylon.monitor.ssh.errors import (
    ChannelRefusedError,
    ConnectionClosedError,
    DeadlineError,
    HostKeyChangedError,
    HostKeyUnknownError,
    LoginRefusedError,
    NoAddressError,
    NoAlgorithmError,
    NoNameServerError,
    ProtocolError,
    ProxyError,
    RefusedError,
    SSHError,
    UnreachableError,
)
from pylon.monitor.ssh.expansion import own_account
from pylon.monitor.ssh.far_channel import FarChannel
from pylon.monitor.ssh.resolver import Resolver, missing_ssh
from pylon.monitor.ssh.server_name import ServerName
from pylon.monitor.ssh.settings import HostKeyPolicy, SSHSettings
from pylon.monitor.ssh.watched_files import Stamps, refuse_foreign

__all__ = [
    "ChannelRefusedError",
    "ConnectionClosedError",
    "DeadlineError",
    "FarChannel",
    "HostKeyChangedError",
    "HostKeyPolicy",
    "HostKeyUnknownError",
    "LoginRefusedError",
    "NoAddressError",
    "NoAlgorithmError",
    "NoNameServerError",
    "ProtocolError",
    "ProxyError",
    "RefusedError",
    "Resolver",
    "SSHError",
    "SSHSettings",
    "ServerName",
    "Stamps",
    "UnreachableError",
    "missing_ssh",
    "open_channel",
    "own_account",
    "refuse_foreign",
]
