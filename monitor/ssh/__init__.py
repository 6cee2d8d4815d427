"""The door to SSH: a server's name in, a channel to its shell out. Nothing else imports paramiko.

server_name     what the user wrote                 known_hosts     the files of known host keys
ssh_config      the files that explain it           host_keys       whether the server is the one meant
settings        what they come to                   identities      which keys of ours are offered
connection      all hops, under one deadline        agent           those that an agent holds
session         one hop: greeting, keys, login      wire            the socket that enforces the limits
far_channel     what the caller talks through       proxy_command   the program in a socket's place

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
    ProtocolError,
    ProxyError,
    SSHError,
    UnreachableError,
)
from pylon.monitor.ssh.far_channel import FarChannel
from pylon.monitor.ssh.server_name import ServerName
from pylon.monitor.ssh.settings import HostKeyPolicy, SSHSettings, resolve
from pylon.monitor.ssh.ssh_config import SSHConfig

__all__ = [
    "ChannelRefusedError",
    "ConnectionClosedError",
    "DeadlineError",
    "FarChannel",
    "HostKeyChangedError",
    "HostKeyPolicy",
    "HostKeyUnknownError",
    "LoginRefusedError",
    "ProtocolError",
    "ProxyError",
    "SSHConfig",
    "SSHError",
    "SSHSettings",
    "ServerName",
    "UnreachableError",
    "open_channel",
    "resolve",
]
