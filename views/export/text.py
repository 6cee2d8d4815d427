"""The text that a scrape gets, as prometheus-client writes it to the byte, in a fraction of its time.

The library checks and escapes each name and label of each series again; here the names are constants, and the
labels of a GPU are written once for all its series. Which form a client gets is the library's choice.
"""

from collections.abc import Callable, Iterator

from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from pylon.views.export.collecting import filled
from pylon.views.export.families import FAMILIES, PREFIX, Family
from pylon.views.export.filling import Filling
from pylon.views.export.picture import Picture

_OPENMETRICS = "application/openmetrics-text"
_TOTAL = "_total"
# The library's own function has no types.
_number: Callable[[float], str] = floatToGoString


def metrics_text(picture: Picture, accept: str = "") -> tuple[bytes, str]:
    """What a scrape gets, and its content type.

    Args:
        picture: what is shown.
        accept: header of the request; OpenMetrics is given to those that ask for it.
    """
    _, content_type = choose_encoder(accept)
    return written(filled(picture), is_open=content_type.startswith(_OPENMETRICS)), content_type


def written(filling: Filling, *, is_open: bool) -> bytes:
    """The samples as text.

    Args:
        filling: has them.
        is_open: as OpenMetrics; otherwise in Prometheus' own form.
    """
    lines: list[str] = []
    by_names: dict[tuple[str, ...], _Labels] = {}
    for name, samples in filling:
        family = FAMILIES[name]
        full = PREFIX + name + ("_info" if family.kind == "info" else "")
        lines += _head(PREFIX + name, full, family, is_open=is_open)
        labels = by_names.setdefault(family.labels, _Labels(family.labels))
        lines += [f"{full}{labels[values]} {_number(value)}\n" for values, value in samples.items()]
    if is_open:
        lines.append("# EOF\n")
    return "".join(lines).encode()


class _Labels(dict[tuple[str, ...], str]):
    """The values of some labels as text, each set of them made once.

    Args:
        names: of the labels; they are written in their order.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = [(name, place) for place, name in sorted(enumerate(names), key=lambda one: one[1])]

    def __missing__(self, values: tuple[str, ...]) -> str:
        text = ",".join(f'{name}="{_escaped(values[place])}"' for name, place in self._names)
        self[values] = f"{{{text}}}" if text else ""
        return self[values]


def _head(base: str, full: str, family: Family, *, is_open: bool) -> Iterator[str]:
    name = base.removesuffix(_TOTAL) if family.kind == "counter" and is_open else full
    name = base if family.kind == "info" and is_open else name
    yield f"# HELP {name} {family.help}\n"
    yield f"# TYPE {name} {'gauge' if family.kind == 'info' and not is_open else family.kind}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
