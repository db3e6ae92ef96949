"""Parley's own page in a real browser, behind the real nginx with its headers."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Dialog, expect

from dev.stack import Plan, Stack
from tests.browser.actions import PASSWORD, log_in, send, submit_form
from tests.browser.conftest import NewPage
from tests.stack.accounts import create_accounts

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Plan(tmp_path_factory.mktemp("page"), engine="scripted", gateways=2)) as stack:
        create_accounts(stack, {"alice": PASSWORD, "bob": PASSWORD})
        yield stack


def test_an_answer_streams_and_is_there_after_a_reload(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[tokens=200 pace=0.01]]")
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
    page = log_in(stack, new_page, "bob")
    send(page, "[[text=the first answer]]")
    expect(page.get_by_text("the first answer", exact=True)).to_be_visible()
    send(page, "[[text=the second answer]]")
    expect(page.get_by_text("the second answer", exact=True)).to_be_visible()
    expect(page.locator("[data-testid=message]")).to_have_count(4)


def test_stop_ends_the_answer_and_keeps_its_text(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[pace=0.02 text=this much is kept" + " and so on" * 200 + "]]")
    answer = page.locator("[data-role=assistant]").first
    expect(answer).to_contain_text("this much is kept and so on")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    page.reload()
    expect(answer).to_contain_text("this much is kept and so on")


def test_a_wrong_password_is_reported_and_the_username_stays(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    submit_form(page, "Log in", username="alice", password="not the password")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Username")).to_have_value("alice")


def test_hostile_text_stays_text_and_violates_no_content_security_policy(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    violations: list[str] = []

    def read_console(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            violations.append(message.text)

    def refuse(dialog: Dialog) -> None:
        violations.append("a script was executed")
        dialog.dismiss()

    page.on("console", read_console)
    page.on("dialog", refuse)
    page.goto(stack.url)
    submit_form(page, "Log in", username="alice", password=PASSWORD)
    attack = "<script>alert(1)</script> <img src=x onerror=alert(2)> [link](javascript:alert(3)) ![i](http://127.0.0.1:9/x.png)"
    send(page, f"[[text={attack} the end]]")
    expect(page.locator("[data-role=assistant]").last).to_contain_text("the end")
    expect(page.locator("[data-role=assistant] script, [data-role=assistant] img")).to_have_count(0)
    assert violations == []


def test_the_page_is_chinese_in_a_chinese_browser(stack: Stack, new_page: NewPage) -> None:
    page = new_page(locale="zh-CN")
    page.goto(stack.url)
    expect(page.get_by_role("button", name="登录")).to_be_visible()


def test_the_generated_title_appears_in_the_list(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "Which lamp is lit tonight, and why?")
    chats = page.get_by_role("navigation", name="Chats")
    expect(chats.get_by_role("link", name="Which lamp is lit tonight, and why?", exact=True)).to_be_visible()
    title = chats.get_by_role("link", name="About Which lamp is lit tonight, and", exact=True)
    expect(title).to_be_visible(timeout=15_000)
    page.reload()
    expect(title).to_be_visible()


def test_a_long_conversation_shows_what_was_left_out_and_the_context_used(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    gauge, left_out = page.get_by_test_id("gauge"), page.get_by_test_id("left-out")
    for number in range(1, 5):
        send(page, "[[tokens=1300 pace=0]]")
        expect(page.locator("[data-role=assistant][data-status=completed]")).to_have_count(number)
        if number == 1:
            expect(gauge).to_have_accessible_name(re.compile(r"Context: [\d,]+ of 4,096 tokens used"))
            expect(left_out).to_have_count(0)
    expect(left_out).to_have_text("Earlier messages left out: 2")


def test_the_reasoning_is_separate_from_the_answer(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[reasoning=A greeting. I greet back. text=Hello to you!]]")
    expect(page.get_by_text("Hello to you!", exact=True)).to_be_visible()
    reasoning = page.get_by_text("A greeting. I greet back.", exact=True)
    expect(reasoning).to_be_hidden()
    page.get_by_text("Thought process", exact=True).click()
    expect(reasoning).to_be_visible()


def test_a_conversation_of_another_client_is_shown_with_any_items(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    call = {"call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo"}'}
    items = [
        {"type": "message", "role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": "How is the weather in Oslo?"},
        {"type": "function_call", **call},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"celsius": -3}'},
        {"type": "message", "role": "assistant", "content": "Cold."},
    ]
    created = page.request.post(f"{stack.url}/v1/conversations", data={"items": items}, headers={"Origin": stack.url})
    page.goto(f"{stack.url}/c/{created.json()['id']}")
    expect(page.locator("[data-step=function_call]")).to_have_text('Called get_weather({"city": "Oslo"})')
    expect(page.get_by_text("Cold.", exact=True)).to_be_visible()
    expect(page.get_by_test_id("message")).to_have_count(3)
