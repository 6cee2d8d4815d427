"""JSON that others may have written."""

import pytest

from pylon.storage import parsed_json


def test_what_is_nested_as_programs_nest_is_read() -> None:
    deep = "[" * 50 + "1" + "]" * 50
    assert parsed_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert str(parsed_json(deep)) == deep


@pytest.mark.parametrize("levels", [101, 900, 200_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deep_for_recursion_is_refused_as_what_is_no_json(
    levels: int, begin: str, end: str
) -> None:
    with pytest.raises(ValueError, match="nested"):
        parsed_json(begin * levels + "1" + end * levels)
    with pytest.raises(ValueError, match="Expecting value"):
        parsed_json("nothing")
