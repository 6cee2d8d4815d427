"""A real Chromium without a network.

Without one, or without playwright, the tests are skipped, or fail if PYLON_REQUIRE_BROWSER=1 is set.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pylon.recorder.report.making import read_report
from tests.recorder.synthetic import EVIL, Run, write_history
from tests.views.web.conftest import evil_run, served  # noqa: F401 - the page that `pylon serve` shows

# Debian's name, and those of others.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
Opener = Callable[..., Any]


def _absent(reason: str) -> None:
    if os.environ.get("PYLON_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        _absent(f"needs one of {', '.join(_NAMES)}: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        _absent("needs playwright: pip install '.[browser]'")
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root; what is opened is our own file, without a network.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Opener]:
    """Opens a file offline; after the test, nothing is on the console and nothing else was asked for."""
    contexts, trouble, requests = [], [], []

    def open_page(path: Path, width: int = 1280, **settings: Any) -> Any:
        context = browser.new_context(
            offline=True, viewport={"width": width, "height": 900}, timezone_id="Asia/Tokyo", **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda sent: requests.append(sent.url))
        page.goto(f"file://{path}")
        page.wait_for_selector("#charts svg.plot .line")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []
    assert all(url.startswith("file://") and url.endswith("/page.html") for url in requests)


def _page(folder: Path, records: list[Path]) -> Path:
    report = read_report(records)
    path = folder / "page.html"
    path.write_text(report.page(), encoding="utf-8")
    report.close()
    return path


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of an hour that was killed."""
    folder = tmp_path_factory.mktemp("killed")
    run = Run(seconds=3600, every_s=2.0, epoch_s=900, name=EVIL)
    return _page(folder, [write_history(folder / "history.sqlite", run)])


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three seeds and another run."""
    folder = tmp_path_factory.mktemp("compared")
    for seed, rate in ((1, 0.1), (2, 0.1), (3, 0.1), (1, 0.2)):
        run = Run(seconds=120, epoch_s=40, seed=seed, configuration=(("lr", rate),), name=f"run{seed}")
        write_history(folder / f"{rate}-{seed}/history.sqlite", run)
    return _page(folder, [folder])
