"""Actions of a user on the page, and locators for its parts."""

from itertools import count

from playwright.sync_api import Locator, Page, expect

from dev.stack import Stack
from tests.browser.conftest import NewPage
from tests.stack.accounts import create_accounts

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "battery staple correct"
LONG_MS = 60_000
_NUMBERS = count(1)


def log_in(stack: Stack, new_page: NewPage, user: str = "alice", **options: object) -> Page:
    page = new_page(**options)
    page.goto(stack.url)
    submit_form(page, "Log in", username=user, password=PASSWORD)
    expect_logged_in(page)
    return page


def send(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def answer(page: Page) -> Locator:
    """The text of the newest answer."""
    return page.locator("[data-role=assistant] [data-testid=text]").last


def stop_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop")


def wait_for_more_than(page: Page, text: str) -> str:
    """Waits until the newest answer continues `text`, and returns its current text."""
    shown = page.wait_for_function(
        """text => {
            const all = document.querySelectorAll('[data-role=assistant] [data-testid=text]')
            const now = all[all.length - 1]?.innerText.trimEnd() ?? ''
            return now.length > text.length + 20 && now.startsWith(text) ? now : null
        }""",
        arg=text,
    )
    return str(shown.json_value())


def wait_for_end(page: Page) -> str:
    """Waits for the end of the newest answer, and returns its text."""
    expect(stop_button(page)).to_be_hidden(timeout=LONG_MS)
    return answer(page).inner_text().rstrip()


def submit_form(page: Page, button: str, **fields: str) -> None:
    labels = {"username": "Username", "password": "Password", "new_password": "New password"}
    for field, value in fields.items():
        page.get_by_role("textbox", name=labels[field], exact=True).fill(value)
    page.get_by_role("button", name=button, exact=True).click()


def expect_logged_in(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def create_user(stack: Stack) -> str:
    """Creates a user for one test, with `PASSWORD`."""
    name = f"bob-{next(_NUMBERS)}"
    create_accounts(stack, {name: PASSWORD})
    return name
