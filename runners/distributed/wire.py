"""What ranks send each other: JSON with the bytes of tensors behind it. Nothing is unpickled.

    length of the JSON (8 bytes) | JSON | tensor | tensor | ...      each tensor begins at a multiple of 16

None, booleans, numbers and text are themselves, and so are lists; all else is an object whose one key names
the type.
"""

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pylon.runners.errors import ForeignMessageError, TrainingError

# The names of a large model's parameters and the generators of its ranks are a few megabytes.
MOST_TEXT_BYTES = 256 * 2**20
# Of one message; a checkpoint of what a device holds is smaller.
MOST_BYTES = 2**38
_HEAD_BYTES = 8
_ALIGNMENT = 16
_EXPECTED = "numbers, text, paths, tensors, and lists, tuples, sets and dicts of them"
# Exactly these: of a subclass, something would be lost.
_CONTAINERS: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    torch.Size: "size",
    set: "set",
    dict: "dict",
    OrderedDict: "ordered",
    Counter: "counter",
}
_DICTS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "ordered": OrderedDict, "counter": Counter}
_OTHERS: tuple[tuple[type, str], ...] = (
    (torch.nn.Parameter, "parameter"),
    (torch.Tensor, "tensor"),
    (np.generic, "number"),
    (Path, "path"),
    (bytes, "bytes"),
    (bytearray, "bytearray"),
    (complex, "complex"),
    (torch.dtype, "dtype"),
    (torch.device, "device"),
)


def packed(value: object, *, others_as_text: bool = False) -> torch.Tensor:
    """`value` as bytes, (N,) uint8 on the CPU.

    Args:
        value: what is to be sent.
        others_as_text: send the text of what cannot be sent itself.

    Raises:
        TrainingError: something in it cannot be sent, with its key path, or it is too large.
    """
    packer = _Packer(others_as_text=others_as_text)
    try:
        text = json.dumps(packer.form(value, "")).encode()
    except RecursionError as error:
        raise TrainingError(
            "A value for the other ranks refers to itself or is nested too deeply."
        ) from error
    if len(text) > MOST_TEXT_BYTES:
        raise TrainingError(
            f"A value for the other ranks is {len(text)} bytes of text, expected at most {MOST_TEXT_BYTES}: "
            "keep large data in tensors."
        )
    head = bytearray(len(text).to_bytes(_HEAD_BYTES, "little") + text)
    parts = [torch.frombuffer(head, dtype=torch.uint8), *(_bytes_of(one) for one in packer.tensors)]
    message = torch.zeros(sum(_aligned(len(part)) for part in parts), dtype=torch.uint8)
    begin = 0
    for part in parts:
        message[begin : begin + len(part)] = part
        begin += _aligned(len(part))
    return message


def unpacked(message: torch.Tensor, sender: int) -> Any:  # noqa: ANN401 - whatever was sent
    """The value that `packed` was given.

    Args:
        message: (N,) uint8 on the CPU.
        sender: the rank that it came from.

    Raises:
        ForeignMessageError: it is no such message.
    """
    try:
        length = int.from_bytes(message[:_HEAD_BYTES].numpy().tobytes(), "little")
        if len(message) < _HEAD_BYTES or length > min(MOST_TEXT_BYTES, len(message) - _HEAD_BYTES):
            raise ValueError("its length is not that of a message")
        text = message[_HEAD_BYTES : _HEAD_BYTES + length].numpy().tobytes().decode()
        return _Unpacker(message[_aligned(_HEAD_BYTES + length) :]).value(json.loads(text))
    except (ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
        raise ForeignMessageError(sender, str(error)) from error


def checked_size(size: int, sender: int) -> int:
    """The size of a message that a rank announces.

    Raises:
        ForeignMessageError: it is out of range.
    """
    if not _HEAD_BYTES <= size <= MOST_BYTES:
        raise ForeignMessageError(sender, f"{size} bytes, expected {_HEAD_BYTES} to {MOST_BYTES}")
    return size


class _Packer:
    """Brings values into the form of JSON, and collects their tensors."""

    def __init__(self, *, others_as_text: bool) -> None:
        self.tensors: list[torch.Tensor] = []
        self._others_as_text = others_as_text

    def form(self, value: Any, key_path: str) -> Any:  # noqa: ANN401 - any value
        if value is None or isinstance(value, bool | int | float | str):
            return value
        name = _name_of(value)
        if name in _DICTS:
            attributes = self._pairs(getattr(value, "__dict__", {}), key_path)
            return {name: [self._pairs(value, key_path), attributes]}
        if name in _CONTAINERS.values():
            forms = [self.form(one, f"{key_path}.{number}") for number, one in enumerate(value)]
            return forms if name == "list" else {name: forms}
        if name == "number":
            return self.form(value.item(), key_path)
        if name is not None:
            return {name: self._content(name, value)}
        if self._others_as_text:
            return repr(value)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TrainingError(
            f"{key_path.lstrip('.') or 'a value'} of type {kind} cannot be sent to the other ranks: expected "
            f"{_EXPECTED}."
        )

    def _content(self, name: str, value: Any) -> Any:  # noqa: ANN401 - any value, as JSON
        if isinstance(value, torch.Tensor):
            self.tensors.append(value)
            return [str(value.dtype), list(value.shape), value.requires_grad]
        if isinstance(value, bytes | bytearray):
            return value.hex()
        return [value.real, value.imag] if name == "complex" else str(value)

    def _pairs(self, values: dict[Any, Any], key_path: str) -> list[list[Any]]:
        return [
            [self.form(key, f"{key_path}.(key)"), self.form(value, f"{key_path}.{key}")]
            for key, value in values.items()
        ]


def _name_of(value: object) -> str | None:
    """How the type of a value is named in a message; None if it cannot be sent."""
    if type(value) in _CONTAINERS:
        return _CONTAINERS[type(value)]
    if isinstance(value, torch.Tensor) and (value.layout is not torch.strided or value.is_quantized):
        return None
    return next((name for kind, name in _OTHERS if isinstance(value, kind)), None)


class _Unpacker:
    """Makes values of their form; whatever does not fit raises one of the errors that `unpacked` expects."""

    def __init__(self, content: torch.Tensor) -> None:
        self._content = content
        self._of_kind: dict[str, Callable[[Any], Any]] = {
            "tuple": lambda form: tuple(self._list(form)),
            "size": lambda form: torch.Size(self._list(form)),
            "set": lambda form: set(self._list(form)),
            "tensor": self._tensor,
            "parameter": lambda form: torch.nn.Parameter(
                self._tensor(form).detach(), requires_grad=form[2] is True
            ),
            "path": Path,
            "bytes": bytes.fromhex,
            "bytearray": bytearray.fromhex,
            "complex": lambda form: complex(*form),
            "dtype": _dtype,
            "device": torch.device,
            **{name: self._dict_of(kind) for name, kind in _DICTS.items()},
        }

    def value(self, form: Any) -> Any:  # noqa: ANN401 - any value
        if isinstance(form, list):
            return self._list(form)
        if not isinstance(form, dict):
            return form
        ((kind, content),) = form.items()
        return self._of_kind[kind](content)

    def _list(self, form: list[Any]) -> list[Any]:
        return [self.value(one) for one in form]

    def _dict_of(self, kind: type[dict[Any, Any]]) -> Callable[[Any], dict[Any, Any]]:
        def made(form: Any) -> dict[Any, Any]:  # noqa: ANN401 - JSON
            entries, attributes = form
            result = kind()
            result.update({self.value(key): self.value(value) for key, value in entries})
            if attributes:
                vars(result).update({self.value(key): self.value(value) for key, value in attributes})
            return result

        return made

    def _tensor(self, form: Any) -> torch.Tensor:  # noqa: ANN401 - JSON
        name, shape, requires_grad = form
        dtype = _dtype(name)
        if not all(type(one) is int and one >= 0 for one in shape):
            raise ValueError(f"a tensor of shape {shape}")
        count = math.prod(shape) * dtype.itemsize
        if count > len(self._content):
            raise ValueError(f"a tensor of {count} bytes, with {len(self._content)} left")
        own, self._content = self._content[:count].clone(), self._content[_aligned(count) :]
        return own.view(dtype).reshape(shape).requires_grad_(requires_grad is True)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name.removeprefix("torch."))
    if not isinstance(found, torch.dtype):
        raise TypeError(f"{name!r} is no type of tensors")
    return found


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT
