"""The demo's ready accounts: one to log in with, and the one that the original page brings along."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from dev.folder import write_private

# The account of the page that Parley grew from. Its secret is known to everybody. Other machines can not reach the
# demo, but any web page that is open in a browser on this one can: it can open /ws and chat as this user, and see
# what this user said. So nothing else belongs to this account.
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


def ready_account(accounts: Accounts, folder: Path) -> Account:
    """Made at the first start, with a password of its own, and kept. Raises AccountLost."""
    there, kept = accounts.users(), folder / "account.json"
    account = _read_or_make(kept, known=_USER in there)
    if _USER not in there:
        account = replace(account, api_key="")  # a key from a database that is gone opens nothing
        # The file first: an interrupted start can go on from a password without a user, but not the other way round.
        write_private(kept, asdict(account))
        accounts.add_user(_USER, account.password, admin=True)
    # Never before the other one: whoever comes first is an administrator, and everybody knows this secret.
    if ORIGIN_USER not in there:
        accounts.add_user(ORIGIN_USER, ORIGIN_SECRET)
    if not account.api_key:
        account = replace(account, api_key=accounts.add_key(_USER))
        write_private(kept, asdict(account))
    return account


def _read_or_make(kept: Path, *, known: bool) -> Account:
    if kept.exists():
        return Account(**json.loads(kept.read_text()))
    if known:
        raise AccountLost(
            f"{kept} is gone, and with it the password of {_USER}; delete {kept.parent} and start again with nothing"
        )
    return Account(_USER, secrets.token_urlsafe(9))
