"""An answer goes on whatever happens to the page that asked for it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from dev.stack import Plan, Stack
from tests.browser.conftest import NewPage
from tests.browser.visitor import PASSWORD, answer, has_ended, logged_in, say, shows_more_than, stop_button

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    impatient = {"GATEWAY_SOCKET_FIRST_EVENT_SECONDS": "2"}
    plan = Plan(tmp_path_factory.mktemp("resuming"), engine="scripted", gateways=2, gateway=impatient)
    with Stack(plan) as stack:
        stack.add_user("alice", PASSWORD)
        yield stack


def sockets_of(page: Page) -> list[str]:
    """The addresses of those that are opened from now on."""
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    return opened


def what_is_kept(page: Page) -> str:
    """The newest answer as a page reads it that was not there."""
    page.reload()
    expect(answer(page)).to_have_text(re.compile(r"\S"))
    return answer(page).inner_text().rstrip()


def test_a_reload_in_the_middle_shows_the_text_from_before_and_goes_on(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[tokens=400 pace=0.03]]")
    before = shows_more_than(page, "")
    page.reload()
    after = shows_more_than(page, before)
    expect(stop_button(page)).to_be_visible()
    whole = has_ended(page)
    assert whole.startswith(after)
    assert whole == what_is_kept(page)


def test_a_chat_that_is_not_looked_at_goes_on_after_a_reload_too(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[tokens=150 pace=0.03]]")
    shows_more_than(page, "")
    page.get_by_role("button", name="New chat").click()
    page.goto(stack.url)
    expect(page.get_by_role("img", name="answering")).to_have_count(1)
    expect(page.get_by_role("img", name="answering")).to_have_count(0, timeout=30_000)


def test_the_answer_survives_the_death_of_each_gateway(stack: Stack, new_page: NewPage) -> None:
    """One of them holds the socket, and one runs the turn."""
    page = logged_in(stack, new_page)
    say(page, "[[tokens=400 pace=0.03]]")
    shown = shows_more_than(page, "")
    opened = sockets_of(page)
    for number in (1, 2):
        stack.gateway(number).kill()
        shown = shows_more_than(page, shown)
        stack.gateway(number).start()
        stack.gateway(number).wait_ready()
    whole = has_ended(page)
    assert whole.startswith(shown)
    assert [url for url in opened if "resume=resp_" in url and "starting_after=" in url]
    assert whole == what_is_kept(page)


def test_a_cut_network_is_told_and_the_answer_goes_on_behind_it(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[tokens=300 pace=0.03]]")
    before = shows_more_than(page, "")
    stack.processes["nginx"].kill()
    expect(page.get_by_test_id("banner")).to_be_visible()
    stack.processes["nginx"].start()
    shows_more_than(page, before)
    expect(page.get_by_test_id("banner")).to_be_hidden()
    assert has_ended(page) == what_is_kept(page)


def test_a_line_that_is_dead_without_knowing_is_noticed(stack: Stack, new_page: NewPage) -> None:
    """Offline, Chromium's sockets stay open and carry nothing."""
    page = logged_in(stack, new_page)
    say(page, "[[tokens=300 pace=0.03]]")
    before = shows_more_than(page, "")
    page.context.set_offline(True)
    expect(page.get_by_test_id("banner")).to_be_visible(timeout=20_000)
    page.context.set_offline(False)
    shows_more_than(page, before)
    assert has_ended(page) == what_is_kept(page)


def test_a_line_that_the_server_closed_for_its_silence_is_not_missed(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    with page.expect_websocket() as opened:
        page.reload()
    if not opened.value.is_closed():  # it may have been, while the page still loaded
        opened.value.wait_for_event("close")
    expect(page.get_by_test_id("banner")).to_have_count(0)
    with page.expect_websocket():
        say(page, "[[text=here again]]")
    expect(page.get_by_text("here again", exact=True)).to_be_visible()


def test_a_stop_in_one_tab_stops_the_other(stack: Stack, new_page: NewPage) -> None:
    asking = logged_in(stack, new_page)
    say(asking, "[[tokens=3000 pace=0.02]]")
    shows_more_than(asking, "")
    watching = asking.context.new_page()
    watching.goto(asking.url)
    shows_more_than(watching, "")
    stop_button(watching).click()
    texts = [has_ended(page) for page in (asking, watching)]
    assert texts[0] == texts[1] != ""
    for page in (asking, watching):
        expect(page.get_by_test_id("shortened")).to_contain_text("Stopped")


def test_an_answer_is_stopped_while_its_line_is_down(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    page.add_init_script(
        """const dials = WebSocket
        window.WebSocket = class extends dials {
            constructor(url) {
                super(url)
                window.last = this
                if (window.cut) this.close()
            }
        }"""
    )
    page.reload()
    say(page, "[[tokens=3000 pace=0.02]]")
    shows_more_than(page, "")
    page.evaluate("() => { window.cut = true; window.last.close(4000) }")
    expect(page.get_by_test_id("banner")).to_be_visible()
    with page.expect_response("**/v1/responses/*/cancel") as stopped:
        stop_button(page).click()
    assert stopped.value.json()["status"] == "incomplete"
    page.evaluate("() => { window.cut = false }")
    has_ended(page)
    expect(page.get_by_test_id("shortened")).to_contain_text("Stopped")
