"""What the public half of a key shows: its kind, its algorithms, its length."""

import struct

_CERTIFICATE = "-cert-v01@openssh.com"
_RSA = "ssh-rsa"


def kind_of(blob: bytes) -> str | None:
    """The kind that a key names itself; None: it is not a key."""
    if len(blob) < 4:
        return None
    (length,) = struct.unpack(">I", blob[:4])
    if not 0 < length <= min(64, len(blob) - 4):
        return None
    kind = blob[4 : 4 + length].decode("ascii", "replace")
    # It is shown in errors, and written into known_hosts.
    return kind if kind.isprintable() and " " not in kind else None


def algorithms_of(kind: str) -> tuple[str, ...]:
    """The signatures that a key of a kind can make, best first. SHA-1 is not among them."""
    if kind == _RSA:
        return "rsa-sha2-512", "rsa-sha2-256"
    if kind == _RSA + _CERTIFICATE:
        return f"rsa-sha2-512{_CERTIFICATE}", f"rsa-sha2-256{_CERTIFICATE}"
    return (kind,)


def rsa_bits(blob: bytes) -> int | None:
    """The length of an RSA key's modulus; None: it is a key of another kind, a certificate, or cut off."""
    if kind_of(blob) != _RSA:
        return None
    fields = _fields(blob, 3)
    return None if len(fields) < 3 else int.from_bytes(fields[2]).bit_length()


def is_certificate_of(certificate: bytes, key: bytes) -> bool:
    """Whether a certificate is one of the key with this public half."""
    kind = kind_of(key)
    if kind is None or kind_of(certificate) != f"{kind}{_CERTIFICATE}":
        return False
    # Kind, nonce, then the same fields as the key has after its kind.
    offset = sum(4 + len(one) for one in _fields(certificate, 2))
    return certificate[offset:].startswith(key[4 + len(kind) :])


def _fields(blob: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        if len(blob) < 4:
            break
        (length,) = struct.unpack(">I", blob[:4])
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found
