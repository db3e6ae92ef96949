"""Logging in, registering and resetting a password, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from dev.ports import free_ports
from dev.stack import Plan, Stack
from tests.browser.actions import OTHER_PASSWORD, PASSWORD, create_user, expect_logged_in, log_in, send, submit_form
from tests.browser.conftest import NewPage
from tests.stack.accounts import create_accounts

pytestmark = pytest.mark.browser

LOGIN_ERRORS = {
    "openid_state": "The login took too long or started in another browser.",
    "openid_refused": "The identity provider denied the login.",
    "openid_no_account": "you have no account here",
    "openid_unavailable": "The identity provider is not available.",
    "<b>Call 555</b>": "Logging in with the identity provider failed.",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Registration needs an invite; the OpenID provider is down."""
    port, unused_port = free_ports(2)
    auth = {
        "AUTH_REGISTRATION": "invite",
        "AUTH_PUBLIC_URL": f"http://localhost:{port}",
        "AUTH_OPENID_ISSUER": f"http://127.0.0.1:{unused_port}",
        "AUTH_OPENID_CLIENT_ID": "parley",
        "AUTH_OPENID_NAME": "Example ID",
    }
    with Stack(Plan(tmp_path_factory.mktemp("accounts"), gateways=1, port=port, auth=auth)) as stack:
        create_accounts(stack, {"alice": PASSWORD})
        yield stack


@pytest.fixture
def bob(stack: Stack) -> str:
    return create_user(stack)


def create_link(admin: Page, stack: Stack, path: str) -> str:
    """Creates a one-time link as the administrator."""
    created = admin.request.post(f"{stack.url}/auth/admin/{path}", data={}, headers={"Origin": stack.url})
    assert created.ok, created.text()
    return str(created.json()["link"])


def create_reset_link(admin: Page, stack: Stack, user: str) -> str:
    users = admin.request.get(f"{stack.url}/auth/admin/users?limit=100").json()["data"]
    [found] = [one["id"] for one in users if one["username"] == user]
    return create_link(admin, stack, f"users/{found}/reset")


def test_the_first_administrator_is_created_in_the_browser_and_can_chat(
    tmp_path_factory: pytest.TempPathFactory, new_page: NewPage
) -> None:
    with Stack(Plan(tmp_path_factory.mktemp("empty"), gateways=1)) as empty:
        page = new_page()
        page.goto(empty.url)
        expect(page.get_by_role("heading", name="Create the first account")).to_be_visible()
        submit_form(page, "Create account", username="Root User", password=PASSWORD)
        expect(page.get_by_role("alert")).to_contain_text("A username has 1 to 64 characters")
        submit_form(page, "Create account", username="root")
        expect_logged_in(page)
        assert page.request.get(f"{empty.url}/auth/me").json()["role"] == "admin"
        send(page, "[[text=welcome, root]]")
        expect(page.get_by_text("welcome, root", exact=True)).to_be_visible()
        later = new_page()
        later.goto(empty.url)
        expect(later.get_by_role("button", name="Log in")).to_be_visible()
        expect(later.get_by_role("button", name="Create")).to_have_count(0)


def test_an_invite_registers_one_account_and_is_removed_from_the_url(stack: Stack, new_page: NewPage) -> None:
    link = create_link(log_in(stack, new_page), stack, "invites")
    page = new_page()
    page.goto(link)
    submit_form(page, "Create account", username="alice", password=PASSWORD)
    assert "pi_" not in page.url
    expect(page.get_by_role("alert")).to_contain_text("This username is taken.")
    expect(page.get_by_role("textbox", name="Username")).to_have_attribute("aria-invalid", "true")
    submit_form(page, "Create account", username="invited", password="password")
    expect(page.get_by_role("alert")).to_contain_text("Choose another password")
    submit_form(page, "Create account", password=PASSWORD)
    expect_logged_in(page)
    page.reload()
    expect_logged_in(page)
    second = new_page()
    second.goto(link)
    submit_form(second, "Create account", username="uninvited", password=PASSWORD)
    expect(second.get_by_role("alert")).to_contain_text("This link has been used")
    expect(second.get_by_role("textbox", name="Username")).to_have_value("uninvited")
    second.get_by_role("button", name="Log in").click()
    submit_form(second, "Log in", username="alice", password=PASSWORD)
    expect_logged_in(second)


def test_an_invite_can_be_used_during_the_session_of_another_user(stack: Stack, new_page: NewPage) -> None:
    page = log_in(stack, new_page)
    send(page, "[[text=only for alice]]")
    expect(page.get_by_text("only for alice", exact=True)).to_be_visible()
    page.goto(create_link(page, stack, "invites"))
    submit_form(page, "Create account", username="somebody-else", password=PASSWORD)
    expect(page.get_by_role("button", name="Account: somebody-else")).to_be_visible()
    expect(page.get_by_text("No chats yet")).to_be_visible()
    send(page, "[[text=hello, somebody]]")
    expect(page.get_by_text("hello, somebody", exact=True)).to_be_visible()


def test_without_an_invite_only_login_is_offered(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    expect(page.get_by_role("link", name="Continue with Example ID")).to_be_visible()
    expect(page.get_by_role("button", name="Create")).to_have_count(0)


def test_a_reset_link_sets_a_new_password_for_the_login(stack: Stack, new_page: NewPage, bob: str) -> None:
    inside = log_in(stack, new_page, bob)
    page = new_page()
    page.goto(create_reset_link(log_in(stack, new_page), stack, bob))
    expect(page.get_by_role("textbox", name="New password")).to_be_focused()
    assert "pr_" not in page.url
    submit_form(page, "Set password", new_password="short")
    expect(page.get_by_role("alert")).to_contain_text("8 to 128 characters")
    submit_form(page, "Set password", new_password=OTHER_PASSWORD)
    expect(page.get_by_role("status")).to_have_text("Your new password is set. Log in with it.")
    submit_form(page, "Log in", username=bob, password=OTHER_PASSWORD)
    expect_logged_in(page)
    expect(inside.get_by_role("button", name="Log in")).to_be_visible()


def test_a_reset_link_for_another_user_keeps_the_session(stack: Stack, new_page: NewPage, bob: str) -> None:
    admin = log_in(stack, new_page)
    link = create_reset_link(admin, stack, bob)
    admin.goto(link)  # the page is not reloaded: it handles the hashchange event
    admin.get_by_role("button", name="Not now").click()
    expect_logged_in(admin)
    admin.goto(link)
    submit_form(admin, "Set password", new_password=OTHER_PASSWORD)
    expect_logged_in(admin)


def test_a_wrong_password_is_reported_and_the_form_keeps_its_values(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = new_page()
    page.goto(stack.url)
    submit_form(page, "Log in", username=bob, password="not the password")
    expect(page.get_by_role("alert")).to_have_text("Wrong username or password.")
    expect(page.get_by_role("textbox", name="Username")).to_have_value(bob)
    page.get_by_role("button", name="Show password").click()
    expect(page.get_by_role("textbox", name="Password")).to_have_value("not the password")
    expect(page.get_by_role("textbox", name="Password")).to_have_attribute("type", "text")


def test_an_unreachable_server_is_not_reported_as_a_wrong_password(stack: Stack, new_page: NewPage, bob: str) -> None:
    page = new_page()
    page.goto(stack.url)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.context.set_offline(True)
    submit_form(page, "Log in", username=bob, password=PASSWORD)
    expect(page.get_by_role("alert")).to_have_text("The server cannot be reached.")
    page.context.set_offline(False)
    stack.processes["auth-service"].kill()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The server is not ready. Try again in a moment.")
    stack.processes["auth-service"].start()
    stack.processes["auth-service"].wait_ready()
    page.keyboard.press("Enter")
    expect_logged_in(page)


def test_too_many_wrong_passwords_show_how_long_to_wait(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    status = 401
    while status == 401:  # each failure doubles the wait, so that a slow browser reaches the limit too
        with page.expect_response("**/auth/login") as answered:
            submit_form(page, "Log in", username="nobody", password="not the password")
        status = answered.value.status
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"^Too many attempts\. Try again in \d+ s\.$"))


@pytest.mark.parametrize(("code", "text"), LOGIN_ERRORS.items(), ids=lambda value: value[:20])
def test_a_failed_openid_login_is_explained(stack: Stack, new_page: NewPage, code: str, text: str) -> None:
    page = new_page()
    page.goto(f"{stack.url}/#login-error={code}")
    expect(page.get_by_role("alert")).to_contain_text(text)
    assert "login-error" not in page.url


def test_the_openid_button_leads_to_the_provider_and_back(stack: Stack, new_page: NewPage) -> None:
    page = new_page()
    page.goto(stack.url)
    with page.expect_response("**/auth/openid/login"):
        page.get_by_role("link", name="Continue with Example ID").click()
    expect(page.get_by_role("alert")).to_contain_text(LOGIN_ERRORS["openid_unavailable"])
