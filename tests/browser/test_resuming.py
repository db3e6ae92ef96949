"""An answer continues after a reload, a lost connection and the loss of a gateway, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, WebSocket, expect

from dev.stack import Plan, Stack
from tests.browser.actions import PASSWORD, answer, log_in, send, stop_button, wait_for_end, wait_for_more_than
from tests.browser.conftest import NewPage

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"GATEWAY_SOCKET_FIRST_EVENT_SECONDS": "2"}
    plan = Plan(tmp_path_factory.mktemp("resuming"), engine="scripted", gateways=2, gateway=settings)
    with Stack(plan) as stack:
        stack.add_user("alice", PASSWORD)
        yield stack


def record_sockets(page: Page) -> list[str]:
    """Records the URL of each socket opened from now on."""
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    return opened


def stored_answer(page: Page) -> str:
    """Reloads the page and returns the newest answer as it is stored."""
    page.reload()
    expect(answer(page)).to_have_text(re.compile(r"\S"))
    return answer(page).inner_text().rstrip()


def test_after_a_reload_the_text_is_shown_and_continues(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[tokens=400 pace=0.03]]")
    before = wait_for_more_than(page, "")
    page.reload()
    after = wait_for_more_than(page, before)
    expect(stop_button(page)).to_be_visible()
    whole = wait_for_end(page)
    assert whole.startswith(after)
    assert whole == stored_answer(page)


def test_after_a_reload_an_unselected_chat_continues_too(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[tokens=150 pace=0.03]]")
    wait_for_more_than(page, "")
    page.get_by_role("button", name="New chat").click()
    page.goto(stack.url)
    expect(page.get_by_role("img", name="answering")).to_have_count(1)
    expect(page.get_by_role("img", name="answering")).to_have_count(0, timeout=30_000)


def test_the_answer_survives_the_death_of_each_gateway(stack: Stack, new_page: NewPage) -> None:
    """One gateway holds the socket, the other runs the turn."""
    page = log_in(stack, new_page)
    send(page, "[[tokens=400 pace=0.03]]")
    shown = wait_for_more_than(page, "")
    opened = record_sockets(page)
    for number in (1, 2):
        stack.gateway(number).kill()
        shown = wait_for_more_than(page, shown)
        stack.gateway(number).start()
        stack.gateway(number).wait_ready()
    whole = wait_for_end(page)
    assert whole.startswith(shown)
    assert [url for url in opened if "resume=resp_" in url and "starting_after=" in url]
    assert whole == stored_answer(page)


def test_a_lost_connection_is_shown_and_the_answer_continues_after_it(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[tokens=300 pace=0.03]]")
    before = wait_for_more_than(page, "")
    stack.processes["nginx"].kill()
    expect(page.get_by_test_id("banner")).to_be_visible()
    stack.processes["nginx"].start()
    wait_for_more_than(page, before)
    expect(page.get_by_test_id("banner")).to_be_hidden()
    assert wait_for_end(page) == stored_answer(page)


def test_a_dead_socket_without_a_close_event_is_detected(stack: Stack, new_page: NewPage) -> None:
    """Offline, the sockets of Chromium stay open and carry no data."""
    page = log_in(stack, new_page)
    send(page, "[[tokens=300 pace=0.03]]")
    before = wait_for_more_than(page, "")
    page.context.set_offline(True)
    expect(page.get_by_test_id("banner")).to_be_visible(timeout=20_000)
    page.context.set_offline(False)
    wait_for_more_than(page, before)
    assert wait_for_end(page) == stored_answer(page)


def test_an_idle_socket_closed_by_the_server_is_opened_again(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    sockets: list[WebSocket] = []

    def on_socket(socket: WebSocket) -> None:
        sockets.append(socket)

    page.on("websocket", on_socket)
    # A socket of the page before the reload may have opened late, and its end is never reported.
    page.on("framenavigated", lambda _: sockets.clear())
    page.reload()
    while not any(socket.is_closed() for socket in sockets):  # the test's limit ends the loop
        page.wait_for_timeout(50)
    expect(page.get_by_test_id("banner")).to_have_count(0)
    with page.expect_websocket():
        send(page, "[[text=here again]]")
    expect(page.get_by_text("here again", exact=True)).to_be_visible()


def test_a_stop_in_one_tab_stops_the_other(stack: Stack, new_page: NewPage) -> None:
    asking = log_in(stack, new_page)
    send(asking, "[[tokens=3000 pace=0.02]]")
    wait_for_more_than(asking, "")
    watching = asking.context.new_page()
    watching.goto(asking.url)
    wait_for_more_than(watching, "")
    stop_button(watching).click()
    texts = [wait_for_end(page) for page in (asking, watching)]
    assert texts[0] == texts[1] != ""
    for page in (asking, watching):
        expect(page.get_by_test_id("incomplete-reason")).to_contain_text("Stopped")


def test_an_answer_is_stopped_without_a_socket(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    page.add_init_script(
        """const NativeWebSocket = WebSocket
        window.WebSocket = class extends NativeWebSocket {
            constructor(url) {
                super(url)
                window.last = this
                if (window.cut) this.close()
            }
        }"""
    )
    page.reload()
    send(page, "[[tokens=3000 pace=0.02]]")
    wait_for_more_than(page, "")
    page.evaluate("() => { window.cut = true; window.last.close(4000) }")
    expect(page.get_by_test_id("banner")).to_be_visible()
    with page.expect_response("**/v1/responses/*/cancel") as stopped:
        stop_button(page).click()
    assert stopped.value.json()["status"] == "incomplete"
    page.evaluate("() => { window.cut = false }")
    wait_for_end(page)
    expect(page.get_by_test_id("incomplete-reason")).to_contain_text("Stopped")
