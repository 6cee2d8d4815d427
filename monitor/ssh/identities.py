"""Which keys of ours are offered to a server, in which order: as `ssh` does it, but without a question."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from pylon.monitor.ssh.agent import Agent, AgentError, AgentKey
from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.key_files import KeyFileError, load_private, public_half
from pylon.monitor.ssh.public_keys import algorithms_of, is_certificate_of, kind_of, rsa_bits
from pylon.monitor.ssh.settings import SSHSettings

# sshd hangs up after six refused ones if MaxAuthTries does not set another number.
MOST_OFFERED = 6


@dataclass
class Identities:
    """Keys to offer, in order.

    Attributes:
        keys: paramiko's PKeys.
        notes: why others are not among them, for the error's text.
    """

    keys: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def identities(settings: SSHSettings, deadline: Deadline, cleanup: ExitStack) -> Identities:
    """The keys for a server: of those named, first the agent's; then the agent's others; then from files.

    Args:
        settings: of the server.
        deadline: for the agent.
        cleanup: closes the agent, when the keys are not needed any more.
    """
    found = Identities()
    held = _held(settings, deadline, cleanup, found.notes)
    files = settings.identity_files
    named = [blob for path in files if (blob := public_half(path)) is not None]
    for blob in [*named, *(() if settings.identities_only else held)]:
        if blob in held:
            found.keys.append(held.pop(blob))
    for path in files:
        if public_half(path) not in [key.asbytes() for key in found.keys]:
            _load(path, found)
    found.keys = [one for key in found.keys for one in _with_certificates(key, settings)]
    _leave_out_unwanted(settings, found)
    if len(found.keys) > MOST_OFFERED:
        found.notes.append(
            f"{len(found.keys) - MOST_OFFERED} more keys were not offered, as servers hang up after"
            f" {MOST_OFFERED}: name the right one with 'IdentityFile' and set 'IdentitiesOnly yes'"
        )
    del found.keys[MOST_OFFERED:]
    return found


def _held(
    settings: SSHSettings, deadline: Deadline, cleanup: ExitStack, notes: list[str]
) -> dict[bytes, AgentKey]:
    if settings.agent is None:
        return {}
    try:
        agent = cleanup.enter_context(Agent(settings.agent, deadline))
        blobs = agent.blobs()
    except AgentError as error:
        notes.append(str(error))
        return {}
    # A security key waits until a person touches it.
    return {blob: AgentKey(agent, blob) for blob in blobs if not (kind_of(blob) or "sk-").startswith("sk-")}


def _load(path: Path, found: Identities) -> None:
    """Add the private key in `path`, or a note why not."""
    try:
        key = load_private(path)
    except KeyFileError as error:
        found.notes.append(str(error))
        return
    if key is not None and key.asbytes() not in [one.asbytes() for one in found.keys]:
        found.keys.append(key)


# Any: paramiko has no types.
def _with_certificates(key: Any, settings: SSHSettings) -> Iterator[Any]:  # noqa: ANN401
    """A key with each certificate that is one of it, then the key alone: as ssh offers them."""
    besides = [path.with_name(f"{path.name}-cert.pub") for path in settings.identity_files]
    seen: set[bytes] = set()
    for path in (*settings.certificate_files, *besides):
        blob = public_half(path)
        if blob is None or blob in seen or not is_certificate_of(blob, key.asbytes()):
            continue
        seen.add(blob)
        certified = copy.copy(key)
        certified.public_blob = paramiko.pkey.PublicBlob.from_message(paramiko.Message(blob))
        yield certified
    yield key


def _leave_out_unwanted(settings: SSHSettings, found: Identities) -> None:
    """Leave out what PubkeyAcceptedAlgorithms and RequiredRSASize do not let us offer."""
    accepted = settings.algorithms.logins
    kept = []
    for key in found.keys:
        kind = key.get_name() if key.public_blob is None else key.public_blob.key_type
        bits = rsa_bits(key.asbytes())
        if accepted is not None and not set(algorithms_of(kind)) & set(accepted):
            found.notes.append(f"a key of kind {kind} is not among PubkeyAcceptedAlgorithms")
        elif bits is not None and bits < settings.least_rsa_bits:
            found.notes.append(
                f"an RSA key of {bits} bits is shorter than RequiredRSASize ({settings.least_rsa_bits})"
            )
        else:
            kept.append(key)
    found.keys = kept
