"""What a visitor of the page does, and where things are on it."""

from itertools import count

from playwright.sync_api import Locator, Page, expect

from dev.stack import Stack
from tests.browser.conftest import NewPage

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "battery staple correct"
LONG_MS = 60_000
_NUMBERS = count(1)


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


def answer(page: Page) -> Locator:
    """The text of the newest one."""
    return page.locator("[data-role=assistant] [data-testid=text]").last


def stop_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop")


def shows_more_than(page: Page, text: str) -> str:
    """Waits until the newest answer goes on from `text`, and returns what it shows then."""
    shown = page.wait_for_function(
        """text => {
            const all = document.querySelectorAll('[data-role=assistant] [data-testid=text]')
            const now = all[all.length - 1]?.innerText.trimEnd() ?? ''
            return now.length > text.length + 20 && now.startsWith(text) ? now : null
        }""",
        arg=text,
    )
    return str(shown.json_value())


def has_ended(page: Page) -> str:
    """Waits for the end of the newest answer, and returns its text."""
    expect(stop_button(page)).to_be_hidden(timeout=LONG_MS)
    return answer(page).inner_text().rstrip()


def fill_in(page: Page, button: str, **fields: str) -> None:
    labels = {"name": "User name", "password": "Password", "new": "New password"}
    for field, value in fields.items():
        page.get_by_role("textbox", name=labels[field], exact=True).fill(value)
    page.get_by_role("button", name=button, exact=True).click()


def is_in(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def new_user(stack: Stack) -> str:
    """One of the test's own, with the usual password."""
    name = f"bob-{next(_NUMBERS)}"
    stack.add_user(name, PASSWORD)
    return name
