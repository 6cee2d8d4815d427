"""What must not be shown: values whose key says that they are secret, and passwords in addresses.

A key is split into words, as `hfToken`, `hf_token` and `--hf-token` are `hf`, `token`. These are secret:

    password, passwd, passphrase, secret    in any place, unless the last word is about it, as in secret_file
    token                                   as the last word, unless it is a token of text, as pad_token
    key                                     as the last word after api, access, ...; after others only if the
                                            value is no name: 16 letters and digits in a row, or more
    notify                                  an address, which is all that is needed to send there
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MASK = "***"

_POSITION = re.compile(r"(\.\d+)+$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORD = re.compile(r"\w*(password|passwd|passphrase|secret)s?")
_TOKEN_WORD = re.compile(r"(\w*?)token")
_KEY_WORD = re.compile(r"(\w*?)key")
# As in `password_file`: not the secret, but where it is or what it is like.
_ABOUT_A_SECRET = re.compile(
    "file|filename|path|dir|folder|env|environ|variable|var|name|length|len|size|id|field|column|prompt|policy"
    "|type|count"
)
_TOKENS_OF_TEXT = re.compile(
    "cls|class|pad|padding|mask|bos|eos|sos|sep|unk|unknown|start|begin|end|stop|special|blank|new|image|img"
    "|patch|register|reg|distillation|distill|dist|prefix|text|word|next|last|first|query|global|time|task"
    "|prompt"
)
_SECRET_KEYS = re.compile(
    "api|access|secret|private|auth|account|storage|encryption|signing|ssh|shared|master|service"
    "|subscription|license|licence|app|client|deploy|session|user|admin"
)
_NO_NAME = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{16}")
_VALUE = r"""'[^']*'|"[^"]*"|[^\s'",;&}\])]+"""
_MAYBE = r"(?=[\w.-]*(?:token|key|passw|passphrase|secret))"
_NAMED = re.compile(
    rf"""(?<![\w.-]){_MAYBE}(?P<name>[\w.-]++)(?P<between>['"]?\s*[:=]\s*)(?P<value>{_VALUE})""",
    re.IGNORECASE,
)
_FLAG = re.compile(
    rf"(?<!\S)--?{_MAYBE}(?P<name>[\w.-]++)(?P<between>\s+)(?P<value>(?!-)(?:{_VALUE}))", re.IGNORECASE
)
_ASSIGNED = re.compile(r"-*[\w.-]+=")
_IN_ADDRESS = re.compile(r"((?<![\w+.-])[A-Za-z][\w+.-]*+://[^\s/:@]*+:)[^\s/]+(?=@)")
_LOGIN = re.compile(r"(?!mailto:)([\w.+-]+:)[^\s/@:]+(@[\w.-]+(?::\d+)?)")
# A shorter one would be found within other words.
_SHORTEST_IN_TEXT = 6


def is_secret(key: str, value: object) -> bool:
    """Whether a value is secret by its key.

    Args:
        key: a name, a path of names and positions with dots between, or a flag of a command line.
        value: text; a number can be a password, and no token or key.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return False
    words = [word.lower() for word in _WORD.findall(_POSITION.sub("", key).rpartition(".")[2])]
    if not words or _ABOUT_A_SECRET.fullmatch(words[-1]):
        return False
    if any(map(_SECRET_WORD.fullmatch, words)):
        return True
    if words[-1] == "notify":
        return "://" in str(value)
    is_text = isinstance(value, str) and not value.isdigit()
    return is_text and _is_token_or_key(words[-1], words[-2] if len(words) > 1 else "", str(value))


def _is_token_or_key(last: str, before: str, value: str) -> bool:
    if token := _TOKEN_WORD.fullmatch(last):
        return _TOKENS_OF_TEXT.fullmatch(token[1] or before) is None
    key = _KEY_WORD.fullmatch(last)
    if key is None:
        return False
    is_joined = key[1] != ""
    kind_is_secret = _SECRET_KEYS.fullmatch(key[1] or before) is not None
    return kind_is_secret or (not is_joined and _NO_NAME.search(value) is not None)


def masked(value: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON, or a configuration
    """A value for people, in which what is secret is masked; the value itself if nothing is.

    Args:
        value: text, a number, or lists and dicts of them.
        key: of the value, or a path of keys with dots between.
    """
    shown: Any
    if isinstance(value, Mapping):
        shown = {name: masked(element, str(name)) for name, element in value.items()}
    elif isinstance(value, list | tuple):
        shown = [masked(element, key) for element in value]
        shown = tuple(shown) if isinstance(value, tuple) else shown
    elif is_secret(key, value):
        shown = MASK
    elif isinstance(value, str):
        shown = _without_logins(value)
    else:
        return value
    # Any class of a list or of text is to be seen as it is.
    return value if shown == value else shown


def secrets_in(config: Any, key_path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any configuration
    """The key path and the text of each value of a configuration that is secret by its key."""
    if isinstance(config, Mapping):
        for name, element in config.items():
            yield from secrets_in(element, f"{key_path}.{name}".lstrip("."))
    elif isinstance(config, list | tuple):
        for element in config:
            yield from secrets_in(element, key_path)
    elif is_secret(key_path, config) or (isinstance(config, str) and _without_logins(config) != config):
        yield key_path, str(config)


def secret_values(config: Any) -> list[str]:  # noqa: ANN401 - any configuration
    """The secrets of a configuration, to be hidden in texts by `masked_text`."""
    return [value for _, value in secrets_in(config)]


def masked_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, masked in `--token X`, `token=X`, `--set a.token=X` and within words."""
    shown: list[str] = []
    flag = ""
    for word in words:
        shown.append(
            MASK if flag and not word.startswith("-") and is_secret(flag, word) else _masked_word(word)
        )
        flag = word.lstrip("-") if word.startswith("-") and "=" not in word else ""
    return shown


def masked_text(text: str, secrets: Iterable[str] = ()) -> str:
    """A text for people, without passwords in addresses and without the secrets that are known.

    Args:
        text: any, such as the message of an error.
        secrets: as `secrets_in` finds them.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_IN_TEXT:
            text = text.replace(secret, MASK)
    return _IN_ADDRESS.sub(rf"\1{MASK}", text)


def _masked_word(word: str) -> str:
    start = 0
    # As in `--set=tracker.args.token=X`.
    while name := _ASSIGNED.match(word, start):
        start = name.end()
        if is_secret(name[0][:-1], word[start:]):
            return word[:start] + MASK
    rest = _masked_inside(_masked_inside(word[start:], _NAMED), _FLAG)
    return word[:start] + _without_logins(rest)


def _masked_inside(text: str, pattern: re.Pattern[str]) -> str:
    """The text of one word, such as a dict, an address with a query, or a whole command."""
    done, start = "", 0
    while match := pattern.search(text, start):
        value = match["value"]
        quote = value[0] if value[0] in "'\"" else ""
        secret = is_secret(match["name"], value.strip("'\""))
        end = match.end() if secret else match.start("value")
        done += text[start : match.start("value")] + (f"{quote}{MASK}{quote}" if secret else "")
        start = end
    return done + text[start:]


def _without_logins(text: str) -> str:
    login = _LOGIN.fullmatch(text)
    return f"{login[1]}{MASK}{login[2]}" if login else _IN_ADDRESS.sub(rf"\1{MASK}", text)
