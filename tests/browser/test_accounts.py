"""The ways into the page, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from dev.ports import free_ports
from dev.stack import Plan, Stack
from tests.browser.conftest import NewPage
from tests.browser.visitor import OTHER_PASSWORD, PASSWORD, fill_in, is_in, logged_in, new_user, say

pytestmark = pytest.mark.browser

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
    return new_user(stack)


def link_of(admin: Page, stack: Stack, path: str) -> str:
    """A one-time link that an administrator has just made."""
    made = admin.request.post(f"{stack.url}/auth/admin/{path}", data={}, headers={"Origin": stack.url})
    assert made.ok, made.text()
    return str(made.json()["link"])


def reset_link_of(admin: Page, stack: Stack, user: str) -> str:
    users = admin.request.get(f"{stack.url}/auth/admin/users?limit=100").json()["data"]
    [found] = [one["id"] for one in users if one["username"] == user]
    return link_of(admin, stack, f"users/{found}/reset")


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


def test_who_is_logged_in_may_register_somebody_else_with_an_invite(stack: Stack, new_page: NewPage) -> None:
    page = logged_in(stack, new_page)
    say(page, "[[text=only for alice]]")
    expect(page.get_by_text("only for alice", exact=True)).to_be_visible()
    page.goto(link_of(page, stack, "invites"))
    fill_in(page, "Create account", name="somebody-else", password=PASSWORD)
    expect(page.get_by_role("button", name="Account: somebody-else")).to_be_visible()
    expect(page.get_by_text("Your chats will be listed here.")).to_be_visible()
    say(page, "[[text=hello, somebody]]")
    expect(page.get_by_text("hello, somebody", exact=True)).to_be_visible()


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
