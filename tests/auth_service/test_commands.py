"""Tests of auth_service.command_line.commands, command_line.parser and command_line.context in this process."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import pytest

from auth_service.accounts import Account, Role
from auth_service.audit import COMMAND_LINE
from auth_service.command_line.commands import run
from auth_service.command_line.context import CommandConfig
from auth_service.command_line.parser import parser
from auth_service.errors import (
    AuthError,
    LastAdministrator,
    NotFound,
    RegistrationClosed,
    UnknownAccount,
    UnsuitableKey,
)
from auth_service.revocations import NullAnnouncer
from auth_service.sessions import Sessions
from auth_service.store.stores import Stores
from auth_service.tokens import Link, SessionLifetime, TokenKind, new_id, new_token

LIFETIME = SessionLifetime(idle_seconds=3600, absolute_seconds=86400)


class RunCommand(Protocol):
    def __call__(self, *arguments: str) -> Awaitable[list[str]]: ...


@pytest.fixture
async def alice(stores: Stores) -> Account:
    """A user, in addition to the administrator root."""
    root = Account(new_id("user"), "root", "hash", Role.ADMIN, disabled=False, created_at=0)
    alice = Account(new_id("user"), "alice", "hash", Role.USER, disabled=False, created_at=0)
    for account in (root, alice):
        await stores.accounts.add(account)
    return alice


@pytest.fixture
def config(database_url: str) -> CommandConfig:
    return CommandConfig(
        database_url=database_url,
        redis=("", "", ""),
        audit_retention_seconds=3600,
        lifetime=LIFETIME,
        public_url="https://chat.example.org",
        invites_enabled=True,
    )


@pytest.fixture
def run_command(
    alice: Account, config: CommandConfig, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Awaitable[list[str]]]:
    """Runs a command and returns the lines it prints."""
    assert alice

    async def run_command(*arguments: str) -> list[str]:
        capsys.readouterr()
        await run(parser().parse_args(arguments), config)
        return capsys.readouterr().out.splitlines()

    return run_command


async def test_a_user_is_disabled_enabled_promoted_and_deleted(run_command: RunCommand) -> None:
    assert (await run_command("user", "disable", "ALICE"))[0].endswith("\tdisabled")
    assert not (await run_command("user", "enable", "alice"))[0].endswith("disabled")
    assert (await run_command("user", "role", "alice", "admin"))[0].startswith("alice\tadmin\t")
    assert await run_command("user", "delete", "alice") == []
    assert len(await run_command("user", "list")) == 1


async def test_limits_of_a_user_are_changed_individually_and_printed(run_command: RunCommand) -> None:
    unset = ["messages_per_minute\tdefault", "concurrent_answers\tdefault", "tokens_per_day\tdefault"]
    assert await run_command("user", "limits", "alice") == unset
    await run_command("user", "limits", "alice", "--messages-per-minute", "10", "--tokens-per-day", "0")
    changed = await run_command(
        "user", "limits", "alice", "--messages-per-minute", "default", "--concurrent-answers", "2"
    )
    assert changed == ["messages_per_minute\tdefault", "concurrent_answers\t2", "tokens_per_day\t0"]


@pytest.mark.parametrize("limit", ["-1", "1.5", "many", "9" * 16, ""])
def test_a_limit_is_a_number_or_the_default(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["user", "limits", "alice", f"--tokens-per-day={limit}"])
    assert "expected a number of at most 15 digits" in capsys.readouterr().err


async def test_only_the_link_is_printed(run_command: RunCommand) -> None:
    [reset], [created] = await run_command("user", "reset", "alice"), await run_command("invite", "add", "--days", "1")
    assert re.fullmatch(r"https://chat\.example\.org/#reset=pr_[\w-]{43}", reset)
    assert re.fullmatch(r"https://chat\.example\.org/#invite=pi_[\w-]{43}", created)
    [invite] = await run_command("invite", "list")
    assert await run_command("invite", "revoke", invite.split("\t")[0]) == []
    assert await run_command("invite", "list") == []


async def test_keys_are_listed_by_their_prefix_and_revoked(run_command: RunCommand) -> None:
    [key] = await run_command("key", "add", "alice", "--name", "laptop", "--days", "30")
    [listed] = await run_command("key", "list", "alice")
    key_id, prefix, scope, label, used = listed.split("\t")
    assert key.startswith(prefix)
    assert (scope, label, used) == ("chat", "laptop", "never")
    assert await run_command("key", "revoke", "alice", key_id) == []
    assert await run_command("key", "list", "alice") == []


async def test_sessions_are_listed_and_revoked(run_command: RunCommand, stores: Stores, alice: Account) -> None:
    sessions = Sessions(stores, NullAnnouncer(), LIFETIME)
    for _ in range(3):
        await sessions.open(alice, device="Firefox, Linux")
    first, *_ = listed = await run_command("session", "list", "alice")
    assert len(listed) == 3
    assert first.endswith("\tFirefox, Linux")
    await run_command("session", "revoke", "alice", first.split("\t")[0])
    assert len(await run_command("session", "list", "alice")) == 2
    await run_command("session", "revoke", "alice", "--all")
    assert await run_command("session", "list", "alice") == []


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
async def test_an_impossible_command_raises_its_error(
    run_command: RunCommand, arguments: list[str], refusal: type[AuthError]
) -> None:
    with pytest.raises(refusal):
        await run_command(*arguments)


async def test_no_invite_is_created_while_registration_is_closed(config: CommandConfig) -> None:
    with pytest.raises(RegistrationClosed, match="AUTH_REGISTRATION is closed"):
        await run(parser().parse_args(["invite", "add"]), replace(config, invites_enabled=False))


@pytest.mark.parametrize("what", [["key", "add", "alice"], ["invite", "add"]], ids=str)
@pytest.mark.parametrize("days", ["-1", "0", "3651", "1e3", "9" * 30, "\u0663", "soon", ""])
def test_days_range_from_one_day_to_ten_years(what: list[str], days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([*what, f"--days={days}"])
    assert "expected a number from 1 to 3650" in capsys.readouterr().err


async def test_an_invite_that_expires_after_the_last_representable_date_is_listed(
    run_command: RunCommand, stores: Stores
) -> None:
    token = new_token(TokenKind.INVITE)
    await stores.links.add(Link(new_id("invite"), TokenKind.INVITE, None, COMMAND_LINE.id, 0, 2**53), token)
    [listed] = await run_command("invite", "list")
    assert listed.endswith("\t9999-12-31T23:59+00:00")


def test_revoking_a_session_requires_its_id_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["session", "revoke", "alice"])
    assert "one of the arguments id --all is required" in capsys.readouterr().err
