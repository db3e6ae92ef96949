"""Parley's own page in a real browser, behind the real nginx with its headers."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Dialog, expect

from dev.stack import Plan, Stack
from tests.browser.conftest import NewPage
from tests.browser.visitor import PASSWORD, logged_in, say

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Plan(tmp_path_factory.mktemp("page"), engine="scripted", gateways=2)) as stack:
        stack.add_user("alice", PASSWORD)
        stack.add_user("bob", PASSWORD)
        yield stack


def test_log_in_send_watch_it_stream_and_find_it_after_a_reload(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[tokens=200 pace=0.01]]")
    first = page.locator("[data-role=assistant]").first
    expect(first).not_to_be_empty()
    early = first.inner_text()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden(timeout=15_000)
    whole = first.inner_text()
    assert len(early) < len(whole)
    page.reload()
    expect(page.locator("[data-role=assistant]")).to_have_count(1)
    expect(page.locator("[data-role=assistant]").first).to_have_text(whole, use_inner_text=True)
    assert "/c/conv_" in page.url


def test_a_second_question_follows_in_the_same_conversation(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page, "bob")
    say(page, "[[text=the first answer]]")
    expect(page.get_by_text("the first answer", exact=True)).to_be_visible()
    say(page, "[[text=the second answer]]")
    expect(page.get_by_text("the second answer", exact=True)).to_be_visible()
    expect(page.locator("[data-testid=message]")).to_have_count(4)


def test_stop_ends_the_answer_and_keeps_its_text(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[pace=0.02 text=this much is kept" + " and so on" * 200 + "]]")
    answer = page.locator("[data-role=assistant]").first
    expect(answer).to_contain_text("this much is kept and so on")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    page.reload()
    expect(answer).to_contain_text("this much is kept and so on")


def test_a_wrong_password_is_told_and_the_name_stays(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("User name")).to_have_value("alice")


def test_hostile_text_stays_text_and_nothing_breaks_the_content_security_policy(
    stack: Stack, new_page: NewPage
) -> None:
    page = new_page()
    violations: list[str] = []

    def read_console(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            violations.append(message.text)

    def refuse(dialog: Dialog) -> None:
        violations.append("a script ran")
        dialog.dismiss()

    page.on("console", read_console)
    page.on("dialog", refuse)
    page.goto(stack.url)
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    attack = "<script>alert(1)</script> <img src=x onerror=alert(2)> [link](javascript:alert(3)) ![i](http://127.0.0.1:9/x.png)"
    say(page, f"[[text={attack} the end]]")
    expect(page.locator("[data-role=assistant]").last).to_contain_text("the end")
    expect(page.locator("[data-role=assistant] script, [data-role=assistant] img")).to_have_count(0)
    assert violations == []


def test_the_page_speaks_chinese_to_a_chinese_browser(stack: Stack, new_page: NewPage) -> None:
    page = new_page(locale="zh-CN")
    page.goto(stack.url)
    expect(page.get_by_role("button", name="登录")).to_be_visible()


def test_the_title_that_the_model_made_comes_into_the_list(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "Which lamp is lit tonight, and why?")
    chats = page.get_by_role("navigation", name="Chats")
    expect(chats.get_by_role("link", name="Which lamp is lit tonight, and why?", exact=True)).to_be_visible()
    title = chats.get_by_role("link", name="About Which lamp is lit tonight, and", exact=True)
    expect(title).to_be_visible(timeout=15_000)
    page.reload()
    expect(title).to_be_visible()


def test_a_long_conversation_says_what_was_left_out_and_how_full_it_is(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    gauge, left_out = page.get_by_test_id("gauge"), page.get_by_test_id("left-out")
    for number in range(1, 5):
        say(page, "[[tokens=1300 pace=0]]")
        expect(page.locator("[data-role=assistant][data-status=completed]")).to_have_count(number)
        if number == 1:
            expect(gauge).to_have_accessible_name(re.compile(r"Context: [\d,]+ of 4,096 tokens"))
            expect(left_out).to_have_count(0)
    expect(left_out).to_have_text("Earlier messages left out: 2")


def test_what_the_model_thinks_is_apart_from_what_it_says(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[reasoning=A greeting. I greet back. text=Hello to you!]]")
    expect(page.get_by_text("Hello to you!", exact=True)).to_be_visible()
    thought = page.get_by_text("A greeting. I greet back.", exact=True)
    expect(thought).to_be_hidden()
    page.get_by_text("Thinking", exact=True).click()
    expect(thought).to_be_visible()


def test_a_conversation_of_another_client_is_shown_whatever_is_in_it(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    call = {"call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'}
    items = [
        {"type": "message", "role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": "How is the weather in Oslo?"},
        {"type": "function_call", **call},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"celsius": -3}'},
        {"type": "message", "role": "assistant", "content": "Cold."},
    ]
    made = page.request.post(f"{stack.url}/v1/conversations", data={"items": items}, headers={"Origin": stack.url})
    page.goto(f"{stack.url}/c/{made.json()['id']}")
    expect(page.locator("[data-aside=call]")).to_have_text('Called get_weather({"city": "Oslo"})')
    expect(page.get_by_text("Cold.", exact=True)).to_be_visible()
    expect(page.get_by_test_id("message")).to_have_count(3)
