"""The language that chooses rows: `temp>85 & server~=dgx`, `user==alice | !(util<10)`, `dgx`.

    choice      = both {"|" both}
    both        = one {"&" one}
    one         = "!" one | "(" choice ")" | comparison | WORD
    comparison  = COLUMN ("==" | "=" | "!=" | "~=" | "<" | "<=" | ">" | ">=") VALUE

A word alone is looked for in every text. `~=` is "contains"; texts are compared without regard to case. A
number may have a unit: 10G, 500M, 85%, 2h. What is not known fits no comparison but `COLUMN==?`.
"""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple

from pylon.views.terminal.columns import Column, Row, Value, named

Predicate = Callable[[Row], bool]

_LONGEST = 1000
_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>==|!=|~=|<=|>=|[<>=&|!()])|"(?P<quoted>[^"]*)"|(?P<word>[^\s<>=!~&|()"]+))"""
)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z%°/]*)", re.IGNORECASE)
_FACTORS = {
    "": 1.0, "%": 1.0, "c": 1.0, "°c": 1.0, "w": 1.0, "b": 1.0,
    "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "mhz": 1e6, "ghz": 1e9,
    **{f"{letter}{end}": 1024.0**power
       for power, letter in enumerate("kmgt", 1) for end in ("", "b", "ib", "/s", "b/s", "ib/s")},
}  # fmt: skip
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
_COMPARISONS = {"==", "=", "!=", "~=", *_ORDERS}


class FilterError(ValueError):
    """A filter that cannot be read.

    Attributes:
        place: of what is wrong, in characters from 0.
    """

    def __init__(self, text: str, place: int) -> None:
        super().__init__(f"character {place + 1}: {text}")
        self.place = place


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def parse_filter(text: str, columns: Sequence[Column[Row]]) -> Predicate[Row]:
    """What a filter chooses; an empty one chooses all.

    Args:
        text: as the user wrote it.
        columns: those that exist.

    Raises:
        FilterError: it cannot be read.
    """
    if len(text) > _LONGEST:
        raise FilterError(f"a filter of {len(text)} characters, expected {_LONGEST} at most", _LONGEST)
    tokens = _tokens(text)
    return _Parser(tokens, columns, len(text)).whole() if tokens else lambda _row: True


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            wrong = (
                'a " without its second' if text[at] == '"' else f"{text[at]!r} is not part of the language"
            )
            raise FilterError(wrong, at)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        place = match.end()
    return found


class _Parser(Generic[Row]):
    def __init__(self, tokens: Sequence[_Token], columns: Sequence[Column[Row]], length: int) -> None:
        self._tokens, self._columns, self._length = tokens, columns, length
        self._at, self._depth = 0, 0

    def whole(self) -> Predicate[Row]:
        found = self._choice()
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            raise FilterError(f"{token.text!r}, expected & or | before it", token.place)
        return found

    def _sign(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        return token.text if token is not None and token.kind == "sign" else ""

    def _choice(self) -> Predicate[Row]:
        parts = [self._both()]
        while self._sign() == "|":
            self._at += 1
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _both(self) -> Predicate[Row]:
        parts = [self._one()]
        while self._sign() == "&":
            self._at += 1
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _one(self) -> Predicate[Row]:
        sign = self._sign()
        if sign not in {"!", "("}:
            return self._comparison()
        opened = self._tokens[self._at].place
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise FilterError(f"more than {_DEEPEST} parentheses or ! within one another", opened)
        found = self._negated() if sign == "!" else self._closed(opened)
        self._depth -= 1
        return found

    def _negated(self) -> Predicate[Row]:
        inner = self._one()
        return lambda row: not inner(row)

    def _closed(self, opened: int) -> Predicate[Row]:
        inner = self._choice()
        if self._sign() != ")":
            raise FilterError("( without its )", opened)
        self._at += 1
        return inner

    def _word(self, expected: str) -> _Token:
        if self._at >= len(self._tokens):
            raise FilterError(f"the end, expected {expected}", self._length)
        token = self._tokens[self._at]
        if token.kind == "sign":
            raise FilterError(f"{token.text!r}, expected {expected}", token.place)
        self._at += 1
        return token

    def _comparison(self) -> Predicate[Row]:
        left = self._word("a column or a word")
        sign = self._sign()
        if sign not in _COMPARISONS:
            return _anywhere(left.text, self._columns)
        column = named(self._columns, left.text)
        if column is None:
            known = ", ".join(one.name for one in self._columns)
            raise FilterError(f"no column {left.text!r} here; there are: {known}", left.place)
        self._at += 1
        return _compared(column, sign, self._word("a value"))


def _anywhere(word: str, columns: Sequence[Column[Row]]) -> Predicate[Row]:
    wanted = word.casefold()
    texts = [one for one in columns if one.is_text]
    return lambda row: any(wanted in str(one.read(row) or "").casefold() for one in texts)


def _compared(column: Column[Row], sign: str, value: _Token) -> Predicate[Row]:
    read = column.read
    if value.text == "?" and sign in {"==", "=", "!="}:
        return (lambda row: read(row) is not None) if sign == "!=" else (lambda row: read(row) is None)
    if column.is_text or sign == "~=":
        return _text_compared(column, sign, value)
    wanted = _number(value, column)
    if sign in _ORDERS:
        order = _ORDERS[sign]
        return lambda row: _is_number(found := read(row)) and order(float(found or 0.0), wanted)
    equal = sign != "!="
    return lambda row: _is_number(found := read(row)) and (found == wanted) is equal


def _text_compared(column: Column[Row], sign: str, value: _Token) -> Predicate[Row]:
    if sign in _ORDERS:
        raise FilterError(f"{column.name} is text: compare it with ==, != or ~=", value.place)
    read, wanted = column.read, value.text.casefold()
    if sign == "~=":
        return lambda row: (found := read(row)) is not None and wanted in str(found).casefold()
    equal = sign != "!="
    return lambda row: (found := read(row)) is not None and (str(found).casefold() == wanted) is equal


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float)


def _number(value: _Token, column: Column[Row]) -> float:
    match = _NUMBER.fullmatch(value.text)
    factor = None if match is None else _FACTORS.get(match[2].lower())
    if match is None or factor is None:
        raise FilterError(
            f"{value.text!r}, expected a number for {column.name}, as 85, 10G or 2h", value.place
        )
    if match[2].lower() == "m" and column.unit == "seconds":
        factor = 60.0
    return float(match[1]) * factor
