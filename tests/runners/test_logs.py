"""What the ranks that write no files print."""

import logging

import pytest

from pylon.runners.logs import warnings_of_rank


def test_warning_of_what_all_ranks_know_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pylon.tests.ranks")
    with warnings_of_rank(1):
        logger.warning("its own")
        logger.warning("known to all", extra={"of_all_ranks": True})
    printed = capsys.readouterr().err
    assert "rank 1: its own" in printed
    assert "known to all" not in printed
