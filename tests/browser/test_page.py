"""Parley's own page in a real browser, behind the real nginx with its headers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Dialog, Page, expect

from dev.stack import Plan, Stack
from tests.browser.conftest import NewPage

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Plan(tmp_path_factory.mktemp("page"), engine="scripted", gateways=2)) as stack:
        stack.add_user("alice", PASSWORD)
        stack.add_user("bob", PASSWORD)
        yield stack


def logged_in(stack: Stack, new_page: NewPage, user: str = "alice", **options: object) -> Page:
    page = new_page(**options)
    page.goto(stack.url)
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    return page


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


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
    say(page, "[[tokens=3000 pace=0.02]]")
    expect(page.locator("[data-role=assistant]").first).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    kept = page.locator("[data-role=assistant]").first.inner_text()
    assert kept.strip()
    page.reload()
    expect(page.locator("[data-role=assistant]").first).to_contain_text(kept.split("\n")[0][:20], use_inner_text=True)


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
