"""Everything about accounts that the page offers, in a real browser."""

import re
import subprocess
from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from dev.ports import free_ports
from dev.stack import Plan, Stack
from tests.browser.conftest import NewPage
from tests.browser.visitor import PASSWORD, answer, logged_in, say, stop_button

pytestmark = pytest.mark.browser

NUMBERS = count(1)
OTHER_PASSWORD = "battery staple correct"
LOGIN_ERRORS = {
    "openid_state": "That took too long, or began in another browser.",
    "openid_refused": "The provider did not let you in.",
    "openid_no_account": "you have no account here",
    "openid_unavailable": "The provider does not answer at the moment.",
    "<b>Call 555</b>": "Logging in with the provider did not work.",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Who has an invite may register; the OpenID provider is away."""
    port, nobody = free_ports(2)
    auth = {
        "AUTH_REGISTRATION": "invite",
        "AUTH_PUBLIC_URL": f"http://localhost:{port}",
        "AUTH_OPENID_ISSUER": f"http://127.0.0.1:{nobody}",
        "AUTH_OPENID_CLIENT_ID": "parley",
        "AUTH_OPENID_NAME": "Example ID",
    }
    with Stack(Plan(tmp_path_factory.mktemp("accounts"), gateways=1, port=port, auth=auth)) as stack:
        stack.add_user("alice", PASSWORD, admin=True)
        yield stack


@pytest.fixture
def bob(stack: Stack) -> str:
    """A user of the test's own."""
    name = f"bob-{next(NUMBERS)}"
    stack.add_user(name, PASSWORD)
    return name


def link_of(admin: Page, stack: Stack, path: str) -> str:
    """A one-time link that an administrator has just made."""
    made = admin.request.post(f"{stack.url}/auth/admin/{path}", data={}, headers={"Origin": stack.url})
    assert made.ok, made.text()
    return str(made.json()["link"])


def reset_link_of(admin: Page, stack: Stack, user: str) -> str:
    users = admin.request.get(f"{stack.url}/auth/admin/users?limit=100").json()["data"]
    [found] = [one["id"] for one in users if one["username"] == user]
    return link_of(admin, stack, f"users/{found}/reset")


def fill_in(page: Page, button: str, **fields: str) -> None:
    labels = {"name": "User name", "password": "Password", "new": "New password"}
    for field, value in fields.items():
        page.get_by_role("textbox", name=labels[field], exact=True).fill(value)
    page.get_by_role("button", name=button, exact=True).click()


def is_in(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def account(page: Page, tab: str = "Password") -> Locator:
    page.get_by_role("button", name=re.compile("^Account: ")).click()
    dialog = page.get_by_role("dialog", name=re.compile("^Account: "))
    dialog.get_by_role("tab", name=tab).click()
    return dialog


def new_key(dialog: Locator, name: str) -> str:
    dialog.get_by_role("button", name="New key").click()
    dialog.get_by_role("textbox", name="Name").fill(name)
    dialog.get_by_role("button", name="Create the key").click()
    expect(dialog.get_by_role("heading", name=f"Your new key: {name}")).to_be_focused()
    return dialog.get_by_role("group", name="The key").locator("pre").inner_text()


def test_the_first_administrator_is_created_in_the_browser_and_can_chat(
    tmp_path_factory: pytest.TempPathFactory, new_page: NewPage
) -> None:
    with Stack(Plan(tmp_path_factory.mktemp("empty"), gateways=1)) as empty:
        page = new_page()
        page.goto(empty.url)
        expect(page.get_by_role("heading", name="Create the administrator")).to_be_visible()
        fill_in(page, "Create account", name="Root User", password=PASSWORD)
        expect(page.get_by_role("alert")).to_contain_text("A user name has 1 to 64 of these characters")
        fill_in(page, "Create account", name="root")
        is_in(page)
        assert page.request.get(f"{empty.url}/auth/me").json()["role"] == "admin"
        say(page, "[[text=welcome, root]]")
        expect(page.get_by_text("welcome, root", exact=True)).to_be_visible()
        later = new_page()
        later.goto(empty.url)
        expect(later.get_by_role("button", name="Log in")).to_be_visible()
        expect(later.get_by_role("button", name="Create")).to_have_count(0)


def test_with_an_invite_one_registers_once_and_it_leaves_the_address(stack: Stack, new_page: NewPage) -> None:
    link = link_of(logged_in(stack, new_page), stack, "invites")
    page = new_page()
    page.goto(link)
    fill_in(page, "Create account", name="alice", password=PASSWORD)
    assert "pi_" not in page.url
    expect(page.get_by_role("alert")).to_contain_text("Somebody has this user name already.")
    expect(page.get_by_role("textbox", name="User name")).to_have_attribute("aria-invalid", "true")
    fill_in(page, "Create account", name="invited", password="password")
    expect(page.get_by_role("alert")).to_contain_text("Choose another password")
    fill_in(page, "Create account", password=PASSWORD)
    is_in(page)
    page.reload()
    is_in(page)
    second = new_page()
    second.goto(link)
    fill_in(second, "Create account", name="uninvited", password=PASSWORD)
    expect(second.get_by_role("alert")).to_contain_text("This link was used already")
    expect(second.get_by_role("textbox", name="User name")).to_have_value("uninvited")
    second.get_by_role("button", name="Log in").click()
    fill_in(second, "Log in", name="alice", password=PASSWORD)
    is_in(second)


def test_without_an_invite_there_is_only_log_in(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    expect(page.get_by_role("link", name="Continue with Example ID")).to_be_visible()
    expect(page.get_by_role("button", name="Create")).to_have_count(0)


def test_with_a_reset_link_one_chooses_a_new_password_and_logs_in(stack: Stack, new_page: NewPage, bob: str) -> None:
    inside = logged_in(stack, new_page, bob)
    page = new_page()
    page.goto(reset_link_of(logged_in(stack, new_page), stack, bob))
    expect(page.get_by_role("textbox", name="New password")).to_be_focused()
    assert "pr_" not in page.url
    fill_in(page, "Set the password", new="short")
    expect(page.get_by_role("alert")).to_contain_text("8 to 128 characters")
    fill_in(page, "Set the password", new=OTHER_PASSWORD)
    expect(page.get_by_role("status")).to_have_text("The new password is set. Log in with it.")
    fill_in(page, "Log in", name=bob, password=OTHER_PASSWORD)
    is_in(page)
    expect(inside.get_by_role("button", name="Log in")).to_be_visible()


def test_a_reset_link_does_not_log_out_who_tries_it_for_somebody_else(
    stack: Stack, new_page: NewPage, bob: str
) -> None:
    admin = logged_in(stack, new_page)
    link = reset_link_of(admin, stack, bob)
    admin.goto(link)  # the page stays, and hears of it by the change behind #
    admin.get_by_role("button", name="Not now").click()
    is_in(admin)
    admin.goto(link)
    fill_in(admin, "Set the password", new=OTHER_PASSWORD)
    is_in(admin)


def test_a_wrong_password_is_told_and_nothing_typed_is_lost(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = new_page()
    page.goto(stack.url)
    fill_in(page, "Log in", name=bob, password="not the password")
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is not right.")
    expect(page.get_by_role("textbox", name="User name")).to_have_value(bob)
    page.get_by_role("button", name="Show what is typed").click()
    expect(page.get_by_role("textbox", name="Password")).to_have_value("not the password")
    expect(page.get_by_role("textbox", name="Password")).to_have_attribute("type", "text")


def test_a_server_that_is_away_is_not_taken_for_a_wrong_password(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = new_page()
    page.goto(stack.url)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.context.set_offline(True)
    fill_in(page, "Log in", name=bob, password=PASSWORD)
    expect(page.get_by_role("alert")).to_have_text("The server cannot be reached.")
    page.context.set_offline(False)
    stack.processes["auth-service"].kill()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The server is not ready. Try again in a moment.")
    stack.processes["auth-service"].start()
    stack.processes["auth-service"].wait_ready()
    page.keyboard.press("Enter")
    is_in(page)


def test_after_too_many_wrong_passwords_it_is_told_how_long_to_wait(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    status = 401
    while status == 401:  # each wrong one doubles the wait, so that a slow browser gets there too
        with page.expect_response("**/auth/login") as answered:
            fill_in(page, "Log in", name="nobody", password="not the password")
        status = answered.value.status
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"^Too many attempts\. Try again in \d+ s\.$"))


@pytest.mark.parametrize(("code", "sentence"), LOGIN_ERRORS.items(), ids=lambda value: value[:20])
def test_why_a_provider_s_log_in_failed_is_told(stack: Stack, new_page: NewPage, code: str, sentence: str) -> None:
    page = new_page()
    page.goto(f"{stack.url}/#login-error={code}")
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    assert "login-error" not in page.url


def test_the_provider_s_button_leads_there_and_back(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    with page.expect_response("**/auth/openid/login"):
        page.get_by_role("link", name="Continue with Example ID").click()
    expect(page.get_by_role("alert")).to_contain_text(LOGIN_ERRORS["openid_unavailable"])


def test_a_key_is_shown_once_and_its_line_works_in_a_shell(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = logged_in(stack, new_page, bob)
    dialog = account(page, "API keys")
    expect(dialog.get_by_text("You have no keys.")).to_be_visible()
    key = new_key(dialog, "laptop")
    line = dialog.get_by_role("group", name="Try it in a terminal").locator("pre").inner_text()
    asked = subprocess.run(["sh", "-c", f"{line} --silent --fail"], capture_output=True, text=True, check=True)
    assert '"status":"completed"' in asked.stdout
    dialog.get_by_role("button", name="I have copied it").click()
    expect(dialog.get_by_role("button", name="New key")).to_be_focused()
    expect(dialog.get_by_role("listitem").filter(has_text="laptop")).to_contain_text(key[:9])
    expect(page.get_by_text(key)).to_have_count(0)
    page.reload()
    row = account(page, "API keys").get_by_role("listitem").filter(has_text="laptop")
    expect(row).to_contain_text("last used")
    expect(page.get_by_text(key)).to_have_count(0)


def test_a_key_is_copied_where_the_browser_offers_no_clipboard(stack: Stack, new_page: NewPage, bob: str) -> None:
    """As on plain http, where only a selection can be copied."""
    page = logged_in(stack, new_page, bob)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    dialog = account(page, "API keys")
    key = new_key(dialog, "copied")
    dialog.get_by_role("group", name="The key").get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("button", name="Copied", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Message").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_role("textbox", name="Message")).to_have_value(key)


def test_only_an_administrator_is_offered_a_key_that_administrates(stack: Stack, new_page: NewPage, bob: str) -> None:
    for user, offered in ((bob, 0), ("alice", 1)):
        dialog = account(logged_in(stack, new_page, user), "API keys")
        dialog.get_by_role("button", name="New key").click()
        expect(dialog.get_by_role("combobox", name="Valid for")).to_be_visible()
        expect(dialog.get_by_role("combobox", name="May")).to_have_count(offered)


def test_a_key_is_deleted_after_a_second_question(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = logged_in(stack, new_page, bob)
    dialog = account(page, "API keys")
    key = new_key(dialog, "old")
    dialog.get_by_role("button", name="I have copied it").click()
    dialog.get_by_role("button", name="Delete: old").click()
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Delete: old")).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("group", name="Delete old for good?").get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("status")).to_have_text("The key is deleted.")
    expect(dialog.get_by_role("button", name="New key")).to_be_focused()
    refused = page.request.get(f"{stack.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert refused.status == 401


def test_another_session_is_ended_and_its_page_closes(stack: Stack, new_page: NewPage, bob: str) -> None:
    other, page = logged_in(stack, new_page, bob), logged_in(stack, new_page, bob)
    dialog = account(page, "Sessions")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    expect(dialog.get_by_role("listitem").first).to_contain_text("This one")
    dialog.get_by_role("button", name="Log out there: Chrome, Linux").click()
    expect(dialog.get_by_role("listitem")).to_have_count(1)
    expect(dialog.get_by_role("list", name="Sessions")).to_be_focused()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()
    page.keyboard.press("Escape")
    say(page, "[[text=still here]]")
    expect(page.get_by_text("still here", exact=True)).to_be_visible()


def test_all_other_sessions_are_ended_at_once(stack: Stack, new_page: NewPage, bob: str) -> None:
    others = [logged_in(stack, new_page, bob) for _ in range(2)]
    dialog = account(logged_in(stack, new_page, bob), "Sessions")
    dialog.get_by_role("button", name="Log out everywhere else").click()
    expect(dialog.get_by_role("status")).to_have_text("Logged out everywhere else.")
    expect(dialog.get_by_role("listitem")).to_have_count(1)
    for page in others:
        expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_the_password_is_changed_by_who_knows_it(stack: Stack, new_page: NewPage, bob: str) -> None:
    other, page = logged_in(stack, new_page, bob), logged_in(stack, new_page, bob)
    dialog = account(page)
    current = dialog.get_by_role("textbox", name="Current password")
    new = dialog.get_by_role("textbox", name="New password")
    current.fill("not the password")
    new.fill(OTHER_PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The current password is not right.")
    expect(new).to_have_value(OTHER_PASSWORD)
    current.fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("The password is changed.")
    expect(new).to_be_empty()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()
    fill_in(other, "Log in", name=bob, password=OTHER_PASSWORD)
    is_in(other)


def test_an_account_is_deleted_by_who_knows_its_password(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = logged_in(stack, new_page, bob)
    dialog = account(page, "Delete account")
    dialog.get_by_role("textbox", name="Current password").fill(PASSWORD)
    dialog.get_by_role("button", name="Delete my account").click()
    fill_in(page, "Log in", name=bob, password=PASSWORD)
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is not right.")


def test_the_last_administrator_is_told_why_her_account_stays(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    dialog = account(page, "Delete account")
    dialog.get_by_role("textbox", name="Current password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("You are the only administrator.")


def test_escape_closes_the_dialog_and_does_not_stop_the_answer(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = logged_in(stack, new_page, bob)
    say(page, "[[tokens=3000 pace=0.02]]")
    expect(answer(page)).to_have_text(re.compile(r"\S"))
    dialog = account(page, "Sessions")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name=f"Account: {bob}")).to_be_focused()
    expect(stop_button(page)).to_be_visible()
    expect(page.get_by_test_id("shortened")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("shortened")).to_contain_text("Stopped")


def test_the_tabs_are_walked_with_the_arrow_keys(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = logged_in(stack, new_page, bob)
    dialog = account(page)
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_role("tab", name="Delete account", selected=True)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("tab", name="Password", selected=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("textbox", name="Current password")).to_be_focused()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_each_control_of_the_dialog_has_a_name_and_the_policy_is_kept(
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
