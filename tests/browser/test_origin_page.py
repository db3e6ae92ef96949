"""The page of the demo that Parley grew from, unmodified, in a real browser, against real vLLM.

The page is not part of the project: `PARLEY_ORIGIN_PAGE` is its path. It connects to ws://localhost:7777, so the
stack must use that port.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from dev.ports import is_free
from dev.stack import Plan, Stack
from tests.browser.conftest import NewPage
from tests.stack.accounts import create_accounts

pytestmark = [pytest.mark.browser, pytest.mark.vllm]

ORIGIN_PAGE = os.environ.get("PARLEY_ORIGIN_PAGE")
GREETING = "你好!很高兴能为你提供帮助。有什么问题或需要我协助的事项吗?"


@pytest.fixture(scope="module")
def stack(vllm_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if ORIGIN_PAGE is None:
        pytest.skip("PARLEY_ORIGIN_PAGE is not set")
    assert Path(ORIGIN_PAGE).exists()
    assert is_free(7777), "the page needs port 7777, which is in use"
    with Stack(Plan(tmp_path_factory.mktemp("origin"), engine=f"{vllm_url}/v1", gateways=2, port=7777)) as stack:
        create_accounts(stack, {"12345": "x" * 26, "alice": "correct horse battery"})
        yield stack


def connect(new_page: NewPage, **fields: str) -> Page:
    page = new_page()
    page.goto(Path(str(ORIGIN_PAGE)).resolve().as_uri())
    for field, value in fields.items():
        page.fill(f"#{field}", value)
    page.click("text=Connect")
    page.wait_for_function("ws !== null && ws.readyState === WebSocket.OPEN")
    return page


def send(page: Page, text: str) -> None:
    page.fill("#messageText", text)
    page.click("text=Send")


def messages(page: Page) -> list[str]:
    return page.locator("#messages li").all_text_contents()


def wait_for_text(page: Page, text: str) -> None:
    page.wait_for_function(
        "text => Array.from(document.querySelectorAll('#messages li'), li => li.textContent).join('').includes(text)",
        arg=text,
    )


def test_it_connects_and_the_answer_streams_in(stack: Stack, new_page: NewPage) -> None:
    page = connect(new_page)
    send(page, "你好")
    wait_for_text(page, GREETING)
    assert "".join(messages(page)) == GREETING
    # Long enough to arrive in several pieces, even if a busy machine joins deltas.
    send(page, "讲个故事")
    page.wait_for_function("document.querySelectorAll('#messages li').length > 5")


def test_a_wrong_secret_is_reported(stack: Stack, new_page: NewPage) -> None:
    page = connect(new_page, secret="wrong")
    send(page, "你好")
    wait_for_text(page, "authentication failed")
    assert messages(page) == ["authentication failed"]


def test_a_browser_that_disconnects_is_announced(stack: Stack, new_page: NewPage) -> None:
    """nginx distributes connections round-robin: with four of them, each gateway has at least one."""
    stays = [connect(new_page) for _ in range(3)]
    leaves = connect(new_page, userid="alice", secret="correct horse battery")
    leaves.close()
    for page in stays:
        wait_for_text(page, "Client #alice left the chat")
