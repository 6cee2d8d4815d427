"""The driver's bits in words, against the names that its own library has for them."""

import pynvml
import pytest

from pylon.monitor.status.throttling import throttle_names

_PREFIXES = ("nvmlClocksEventReason", "nvmlClocksThrottleReason")
# Masks of several, and an older name of ApplicationsClocksSetting.
_OTHERS = ("All", "None", "UserDefinedClocks")


def _library_names() -> dict[int, str]:
    found = {}
    for prefix in _PREFIXES:
        for name in dir(pynvml):
            if name.startswith(prefix) and name.removeprefix(prefix) not in _OTHERS:
                found[getattr(pynvml, name)] = name.removeprefix(prefix)
    return found


@pytest.mark.parametrize(("bit", "name"), sorted(_library_names().items()))
def test_every_reason_has_the_name_of_the_library(bit: int, name: str) -> None:
    (ours,) = throttle_names(bit)
    assert ours.replace("_", "") == name.lower()


def test_there_are_reasons_to_compare() -> None:
    assert len(_library_names()) == pynvml.nvmlClocksThrottleReasonAll.bit_count()
