"""What the commands do and say; test_command_line.py runs them as processes."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import pytest

from auth_service.accounts import Account, Role
from auth_service.audit import COMMAND_LINE
from auth_service.command_line.commands import run
from auth_service.command_line.desk import Place
from auth_service.command_line.parser import parser
from auth_service.errors import (
    AuthError,
    LastAdministrator,
    NotFound,
    RegistrationClosed,
    UnknownAccount,
    UnsuitableKey,
)
from auth_service.revocations import Silence
from auth_service.sessions import Sessions
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, Lifetime, Link, new_id, new_token

LIFETIME = Lifetime(idle_seconds=3600, absolute_seconds=86400)


class Said(Protocol):
    def __call__(self, *arguments: str) -> Awaitable[list[str]]: ...


@pytest.fixture
async def alice(stores: Stores) -> Account:
    """A user beside an administrator."""
    root = Account(new_id("user"), "root", "hash", Role.ADMIN, disabled=False, created_at=0)
    alice = Account(new_id("user"), "alice", "hash", Role.USER, disabled=False, created_at=0)
    for account in (root, alice):
        await stores.accounts.add(account)
    return alice


@pytest.fixture
def place(database_url: str) -> Place:
    return Place(
        database_url=database_url,
        redis=("", "", ""),
        audit_retention_seconds=3600,
        lifetime=LIFETIME,
        public_url="https://chat.example.org",
        invites=True,
    )


@pytest.fixture
def said(alice: Account, place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., Awaitable[list[str]]]:
    """The lines a command prints."""
    assert alice

    async def said(*arguments: str) -> list[str]:
        capsys.readouterr()
        await run(parser().parse_args(arguments), place)
        return capsys.readouterr().out.splitlines()

    return said


async def test_a_user_is_disabled_enabled_promoted_and_deleted(said: Said) -> None:
    assert (await said("user", "disable", "ALICE"))[0].endswith("\tdisabled")
    assert not (await said("user", "enable", "alice"))[0].endswith("disabled")
    assert (await said("user", "role", "alice", "admin"))[0].startswith("alice\tadmin\t")
    assert await said("user", "delete", "alice") == []
    assert len(await said("user", "list")) == 1


async def test_limits_of_a_user_are_set_one_by_one_and_printed(said: Said) -> None:
    unset = ["messages_per_minute\tdefault", "concurrent_answers\tdefault", "tokens_per_day\tdefault"]
    assert await said("user", "limits", "alice") == unset
    await said("user", "limits", "alice", "--messages-per-minute", "10", "--tokens-per-day", "0")
    changed = await said("user", "limits", "alice", "--messages-per-minute", "default", "--concurrent-answers", "2")
    assert changed == ["messages_per_minute\tdefault", "concurrent_answers\t2", "tokens_per_day\t0"]


@pytest.mark.parametrize("limit", ["-1", "1.5", "many", "9" * 16, ""])
def test_a_limit_is_a_number_or_the_default(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["user", "limits", "alice", f"--tokens-per-day={limit}"])
    assert "expected a number of at most 15 digits" in capsys.readouterr().err


async def test_links_are_printed_alone(said: Said) -> None:
    [reset], [made] = await said("user", "reset", "alice"), await said("invite", "add", "--days", "1")
    assert re.fullmatch(r"https://chat\.example\.org/#reset=pr_[\w-]{43}", reset)
    assert re.fullmatch(r"https://chat\.example\.org/#invite=pi_[\w-]{43}", made)
    [invite] = await said("invite", "list")
    assert await said("invite", "revoke", invite.split("\t")[0]) == []
    assert await said("invite", "list") == []


async def test_keys_are_listed_by_their_beginning_and_revoked(said: Said) -> None:
    [key] = await said("key", "add", "alice", "--name", "laptop", "--days", "30")
    [listed] = await said("key", "list", "alice")
    key_id, prefix, scope, label, used = listed.split("\t")
    assert key.startswith(prefix)
    assert (scope, label, used) == ("chat", "laptop", "never")
    assert await said("key", "revoke", "alice", key_id) == []
    assert await said("key", "list", "alice") == []


async def test_sessions_are_listed_and_revoked(said: Said, stores: Stores, alice: Account) -> None:
    sessions = Sessions(stores, Silence(), LIFETIME)
    for _ in range(3):
        await sessions.open(alice, device="Firefox, Linux")
    first, *_ = listed = await said("session", "list", "alice")
    assert len(listed) == 3
    assert first.endswith("\tFirefox, Linux")
    await said("session", "revoke", "alice", first.split("\t")[0])
    assert len(await said("session", "list", "alice")) == 2
    await said("session", "revoke", "alice", "--all")
    assert await said("session", "list", "alice") == []


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["user", "delete", "root"], LastAdministrator),
        (["user", "disable", "root"], LastAdministrator),
        (["user", "disable", "nobody"], UnknownAccount),
        (["key", "revoke", "alice", "key_x"], NotFound),
        (["session", "revoke", "alice", "sess_x"], NotFound),
        (["invite", "revoke", "invite_x"], NotFound),
        (["key", "add", "alice", "--scope", "admin"], UnsuitableKey),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_refused(said: Said, arguments: list[str], refusal: type[AuthError]) -> None:
    with pytest.raises(refusal):
        await said(*arguments)


async def test_where_registration_is_closed_no_dead_invite_is_made(place: Place) -> None:
    with pytest.raises(RegistrationClosed, match="AUTH_REGISTRATION is closed"):
        await run(parser().parse_args(["invite", "add"]), replace(place, invites=False))


@pytest.mark.parametrize("what", [["key", "add", "alice"], ["invite", "add"]], ids=str)
@pytest.mark.parametrize("days", ["-1", "0", "3651", "1e3", "9" * 30, "\u0663", "soon", ""])
def test_days_are_from_one_to_ten_years(what: list[str], days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([*what, f"--days={days}"])
    assert "expected a number from 1 to 3650" in capsys.readouterr().err


async def test_an_invite_of_a_time_that_no_calendar_has_is_listed_all_the_same(said: Said, stores: Stores) -> None:
    token = new_token(Kind.INVITE)
    await stores.links.add(Link(new_id("invite"), Kind.INVITE, None, COMMAND_LINE.id, 0, 2**53), token)
    [listed] = await said("invite", "list")
    assert listed.endswith("\t9999-12-31T23:59+00:00")


def test_to_revoke_a_session_one_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["session", "revoke", "alice"])
    assert "one of the arguments id --all is required" in capsys.readouterr().err
