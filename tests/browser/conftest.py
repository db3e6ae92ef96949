import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

# Chromium's background requests need no network here; its sandbox does not work as root.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Module scope: Playwright's running event loop would break later asynchronous tests."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's Chromium is not installed: make setup")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[NewPage]:
    """Opens each page in its own browser context; `PARLEY_SCREENSHOTS=folder` saves screenshots after the test."""
    contexts: list[BrowserContext] = []

    def open_page(**options: object) -> Page:
        context = browser.new_context(**{"locale": "en-US", **options})  # type: ignore[arg-type]
        contexts.append(context)
        return context.new_page()

    yield open_page
    for number, context in enumerate(contexts):
        for page in context.pages:
            _save_screenshot(page, f"{request.node.name}-{number}")
        context.close()


def _save_screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("PARLEY_SCREENSHOTS")
    if folder and not page.is_closed():
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
