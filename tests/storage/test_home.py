from pathlib import Path

import pytest

from pylon.data import DatasetNotFoundError
from pylon.data.change_detection import AirChangeDataset, LEVIRCDDataset
from pylon.storage import with_home


def test_tilde_is_the_home_directory_and_an_unknown_user_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert with_home("~/data") == Path("/somewhere/data")
    assert with_home("~no-such-user/data") == Path("~no-such-user/data")
    assert with_home("data/~") == Path("data/~")


@pytest.mark.parametrize("dataset", [AirChangeDataset, LEVIRCDDataset])
def test_data_of_an_unknown_user_are_not_found(dataset: type) -> None:
    with pytest.raises(DatasetNotFoundError, match="no-such-user"):
        dataset("~no-such-user/data", "train")
