"""The demo's accounts: one to log in with, and the one that the original page uses."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from dev.folder import write_private

# The account of the page that Parley grew from. Its secret is public. Other machines cannot reach the demo, but any web
# page that is open in a browser on this machine can: it can open /ws, chat as this user, and read this user's
# conversations. So nothing else belongs to this account.
ORIGIN_USER, ORIGIN_SECRET = "12345", "x" * 26

_USER = "demo"


class AccountLost(Exception):
    """One sentence for the user."""


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str
    api_key: str = ""


class Accounts(Protocol):
    def users(self) -> list[str]: ...
    def add_user(self, name: str, password: str, *, admin: bool = False) -> None: ...
    def add_key(self, name: str) -> str: ...


def ensure_account(accounts: Accounts, folder: Path) -> Account:
    """The first start creates it with a random password, and later starts read it. Raises AccountLost."""
    users, file = accounts.users(), folder / "account.json"
    account = _load_or_create(file, exists=_USER in users)
    if _USER not in users:
        account = replace(account, api_key="")  # a key from a deleted database is worthless
        # The file first: an interrupted start can recover from a password without a user, but not from the reverse.
        write_private(file, asdict(account))
        accounts.add_user(_USER, account.password, admin=True)
    # Never before the other one: the first account is an administrator, and this secret is public.
    if ORIGIN_USER not in users:
        accounts.add_user(ORIGIN_USER, ORIGIN_SECRET)
    if not account.api_key:
        account = replace(account, api_key=accounts.add_key(_USER))
        write_private(file, asdict(account))
    return account


def _load_or_create(file: Path, *, exists: bool) -> Account:
    if file.exists():
        return Account(**json.loads(file.read_text()))
    if exists:
        raise AccountLost(
            f"{file} is missing, and it held the password of {_USER}; delete {file.parent} to start from scratch"
        )
    return Account(_USER, secrets.token_urlsafe(9))
