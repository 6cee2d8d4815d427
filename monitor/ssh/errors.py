"""What can go wrong on the way to a server, as a tree.

SSHError
├── UnreachableError        no answer there, no way to it
│   ├── NoAddressError    + the name has no address
│   ├── NoNameServerError + who knows the name's address does not answer
│   └── RefusedError      + each address refuses the connection, or no way leads there
├── DeadlineError           it took longer than it may
├── HostKeyUnknownError   * the server's key is not among the known ones
├── HostKeyChangedError   * the server shows another key than the known one, or a revoked one
├── LoginRefusedError     * the server accepts none of our keys, or we have none that can be used
├── ChannelRefusedError     logged in, but the server does not run our command or let us through
├── ConnectionClosedError   the other side, or we, ended the connection
├── ProtocolError           what is there does not speak SSH as we do, or floods us
│   └── NoAlgorithmError  + it has no algorithm in common with us
└── ProxyError              the ProxyCommand could not be run or failed

Those with * are permanent: trying again changes nothing, and can lock the user out. Those with + are tried
again, but not waited for by a command that shows servers once.
"""

from typing import ClassVar

from pylon.monitor.errors import MonitorError


class SSHError(MonitorError):
    """Base of all errors of a connection.

    Attributes:
        permanent: it stays so until the user acts; not to be tried again before.
        lasting: it stays so for longer than a person waits at a command line.
    """

    permanent: ClassVar[bool] = False
    lasting: ClassVar[bool] = False


class UnreachableError(SSHError):
    """There is no answer at the address, or no route to it."""


class NoAddressError(UnreachableError):
    """The name has no address, as those answer who must know it."""

    lasting = True


class NoNameServerError(UnreachableError):
    """The name cannot be looked up now: no DNS server answers, or it has failed."""

    lasting = True


class RefusedError(UnreachableError):
    """Each address of the server refuses the connection, or there is no way to it: an answer, and at once."""

    lasting = True


class DeadlineError(SSHError):
    """It took longer than it may; the text names the step."""


class HostKeyUnknownError(SSHError):
    """The server's host key is not known, and new ones are not accepted or cannot be noted."""

    permanent = True


class HostKeyChangedError(SSHError):
    """The server shows another host key than the known one, or one that was revoked."""

    permanent = True


class LoginRefusedError(SSHError):
    """The server accepts none of our keys, or there is none that can be used without a person."""

    permanent = True


class ChannelRefusedError(SSHError):
    """The server let us in, but does not run the command or does not let us through to the next."""


class ConnectionClosedError(SSHError):
    """The connection ended; the text has by whom, and the last words of the far side."""


class ProtocolError(SSHError):
    """What answers there does not speak SSH, or floods us."""


class NoAlgorithmError(ProtocolError):
    """What answers there has no algorithm in common with us; the text has both sides' lists."""

    lasting = True


class ProxyError(SSHError):
    """The ProxyCommand could not be run or failed; the text has its own last words."""
