"""The account dialog, in a real browser."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from dev.stack import Plan, Stack
from tests.browser.actions import (
    OTHER_PASSWORD,
    PASSWORD,
    answer,
    create_user,
    expect_logged_in,
    log_in,
    send,
    stop_button,
    submit_form,
)
from tests.browser.conftest import NewPage
from tests.stack.accounts import create_accounts

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Plan(tmp_path_factory.mktemp("own-account"), gateways=1)) as stack:
        create_accounts(stack, {"alice": PASSWORD})
        yield stack


@pytest.fixture
def bob(stack: Stack) -> str:
    return create_user(stack)


def open_account(page: Page, tab: str = "Password") -> Locator:
    page.get_by_role("button", name=re.compile("^Account: ")).click()
    dialog = page.get_by_role("dialog", name=re.compile("^Account: "))
    dialog.get_by_role("tab", name=tab).click()
    return dialog


def create_key(dialog: Locator, name: str) -> str:
    dialog.get_by_role("button", name="New key").click()
    dialog.get_by_role("textbox", name="Name").fill(name)
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.get_by_role("heading", name=f"Your new key: {name}")).to_be_focused()
    return dialog.get_by_role("group", name="API key").locator("pre").inner_text()


def test_a_key_is_shown_once_and_its_curl_example_works_in_a_shell(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = log_in(stack, new_page, bob)
    dialog = open_account(page, "API keys")
    expect(dialog.get_by_text("No API keys yet")).to_be_visible()
    key = create_key(dialog, "laptop")
    command = dialog.get_by_role("group", name="Try it in a terminal").locator("pre").inner_text()
    completed = subprocess.run(["sh", "-c", f"{command} --silent --fail"], capture_output=True, text=True, check=True)
    assert '"status":"completed"' in completed.stdout
    dialog.get_by_role("button", name="Done").click()
    expect(dialog.get_by_role("button", name="New key")).to_be_focused()
    expect(dialog.get_by_role("listitem").filter(has_text="laptop")).to_contain_text(key[:9])
    expect(page.get_by_text(key)).to_have_count(0)
    page.reload()
    row = open_account(page, "API keys").get_by_role("listitem").filter(has_text="laptop")
    expect(row).to_contain_text("Last used")
    expect(page.get_by_text(key)).to_have_count(0)


def test_a_key_is_copied_without_the_clipboard_api(stack: Stack, new_page: NewPage, bob: str) -> None:
    """As on plain HTTP, where only a selection can be copied."""
    page = log_in(stack, new_page, bob)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    dialog = open_account(page, "API keys")
    key = create_key(dialog, "copied")
    dialog.get_by_role("group", name="API key").get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("button", name="Copied", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Message").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_role("textbox", name="Message")).to_have_value(key)


def test_only_an_administrator_can_create_a_key_for_administration(stack: Stack, new_page: NewPage, bob: str) -> None:
    for user, offered in ((bob, 0), ("alice", 1)):
        dialog = open_account(log_in(stack, new_page, user), "API keys")
        dialog.get_by_role("button", name="New key").click()
        expect(dialog.get_by_role("combobox", name="Expiration")).to_be_visible()
        expect(dialog.get_by_role("combobox", name="Permissions")).to_have_count(offered)


def test_a_key_is_deleted_after_a_confirmation(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = log_in(stack, new_page, bob)
    dialog = open_account(page, "API keys")
    key = create_key(dialog, "old")
    dialog.get_by_role("button", name="Done").click()
    dialog.get_by_role("button", name="Delete: old").click()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Delete: old")).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("group", name="Delete old permanently?").get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("status")).to_have_text("Key deleted.")
    expect(dialog.get_by_role("button", name="New key")).to_be_focused()
    refused = page.request.get(f"{stack.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert refused.status == 401


def test_ending_another_session_logs_its_page_out(stack: Stack, new_page: NewPage, bob: str) -> None:
    other, page = log_in(stack, new_page, bob), log_in(stack, new_page, bob)
    dialog = open_account(page, "Sessions")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    expect(dialog.get_by_role("listitem").first).to_contain_text("This device")
    dialog.get_by_role("button", name="Log out: Chrome, Linux").click()
    expect(dialog.get_by_role("listitem")).to_have_count(1)
    expect(dialog.get_by_role("list", name="Sessions")).to_be_focused()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()
    page.keyboard.press("Escape")
    send(page, "[[text=still here]]")
    expect(page.get_by_text("still here", exact=True)).to_be_visible()


def test_all_other_sessions_are_ended_at_once(stack: Stack, new_page: NewPage, bob: str) -> None:
    others = [log_in(stack, new_page, bob) for _ in range(2)]
    dialog = open_account(log_in(stack, new_page, bob), "Sessions")
    dialog.get_by_role("button", name="Log out everywhere else").click()
    expect(dialog.get_by_role("status")).to_have_text("Logged out everywhere else.")
    expect(dialog.get_by_role("listitem")).to_have_count(1)
    for page in others:
        expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_changing_the_password_needs_the_current_one(stack: Stack, new_page: NewPage, bob: str) -> None:
    other, page = log_in(stack, new_page, bob), log_in(stack, new_page, bob)
    dialog = open_account(page)
    current = dialog.get_by_role("textbox", name="Current password")
    new = dialog.get_by_role("textbox", name="New password")
    current.fill("not the password")
    new.fill(OTHER_PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The current password is incorrect.")
    expect(new).to_have_value(OTHER_PASSWORD)
    current.fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("Password changed.")
    expect(new).to_be_empty()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()
    submit_form(other, "Log in", username=bob, password=OTHER_PASSWORD)
    expect_logged_in(other)


def test_deleting_the_account_needs_its_password(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = log_in(stack, new_page, bob)
    dialog = open_account(page, "Delete account")
    dialog.get_by_role("textbox", name="Current password").fill(PASSWORD)
    dialog.get_by_role("button", name="Delete my account").click()
    submit_form(page, "Log in", username=bob, password=PASSWORD)
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password.")


def test_the_last_administrator_cannot_delete_the_account(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    dialog = open_account(page, "Delete account")
    dialog.get_by_role("textbox", name="Current password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("You are the only administrator.")


def test_escape_closes_the_dialog_and_does_not_stop_the_answer(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = log_in(stack, new_page, bob)
    send(page, "[[tokens=3000 pace=0.02]]")
    expect(answer(page)).to_have_text(re.compile(r"\S"))
    dialog = open_account(page, "Sessions")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name=f"Account: {bob}")).to_be_focused()
    expect(stop_button(page)).to_be_visible()
    expect(page.get_by_test_id("incomplete-reason")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("incomplete-reason")).to_contain_text("Stopped")


def test_the_arrow_keys_move_between_the_tabs(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = log_in(stack, new_page, bob)
    dialog = open_account(page)
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_role("tab", name="Delete account", selected=True)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("tab", name="Password", selected=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("textbox", name="Current password")).to_be_focused()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_each_control_has_a_name_and_the_content_security_policy_is_kept(
    stack: Stack, new_page: NewPage, locale: str
) -> None:
    violations: list[str] = []

    def read_console(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            violations.append(message.text)

    page = new_page(locale=locale, viewport={"width": 360, "height": 700})
    page.on("console", read_console)
    page.goto(stack.url)
    page.locator("input[name=username]").fill("alice")
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.locator("header button").first.click()
    page.get_by_role("button", name="alice").click()
    dialog = page.get_by_role("dialog")
    for tab in dialog.get_by_role("tab").all():
        tab.click()
        expect(dialog.get_by_role("tabpanel")).to_have_accessible_name(tab.inner_text())
        for control in dialog.locator("button, select, input:not([hidden])").all():
            expect(control).to_have_accessible_name(re.compile(r"\S"))
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert violations == []
