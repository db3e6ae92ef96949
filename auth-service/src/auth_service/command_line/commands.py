import getpass
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Final

from auth_service.accounts import Account, Role, UsageLimits
from auth_service.administration import Change
from auth_service.audit import COMMAND_LINE
from auth_service.command_line.desk import Desk, Place, desk_at
from auth_service.command_line.parser import UNSET
from auth_service.errors import RegistrationClosed, UnsuitablePassword

_DAY_SECONDS: Final = 86400
_LAST: Final = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 1


async def run(arguments: Namespace, place: Place) -> None:
    """Raises AuthError."""
    # Asked for before anything is opened: nobody types for ever.
    if (arguments.command, arguments.action) == ("user", "add"):
        arguments.password = _password(from_stdin=arguments.password_stdin or not sys.stdin.isatty())
    async with desk_at(place) as desk:
        for line in await _COMMANDS[arguments.command, arguments.action](desk, arguments):
            sys.stdout.write(line + "\n")


async def _user_add(desk: Desk, arguments: Namespace) -> list[str]:
    role = Role.ADMIN if arguments.admin else None
    return [_line(await desk.administration.add_user(arguments.name, arguments.password, role, COMMAND_LINE))]


async def _user_list(desk: Desk, _: Namespace) -> list[str]:
    return [_line(account) for account in await desk.administration.users()]


def _user_change(change: Callable[[Namespace], Change]) -> "Command":
    async def command(desk: Desk, arguments: Namespace) -> list[str]:
        account = await desk.administration.named(arguments.name)
        return [_line(await desk.administration.change(account.id, change(arguments), COMMAND_LINE))]

    return command


async def _user_limits(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    asked = {field.name: getattr(arguments, field.name) for field in fields(UsageLimits)}
    given = {name: limit for name, limit in asked.items() if limit is not UNSET}
    changed = await desk.administration.change(account.id, Change(limits=given), COMMAND_LINE)
    return [f"{name}\t{'default' if limit is None else limit}" for name, limit in asdict(changed.limits).items()]


async def _user_reset(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    return [desk.place.public_url + (await desk.links.reset(account.id, COMMAND_LINE)).path]


async def _user_delete(desk: Desk, arguments: Namespace) -> list[str]:
    await desk.administration.delete(await desk.administration.named(arguments.name), COMMAND_LINE)
    return []


async def _key_add(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    expires_at = None if arguments.days is None else int(time.time()) + arguments.days * _DAY_SECONDS
    _, token = await desk.keys.create(account, arguments.label, arguments.scope, COMMAND_LINE, expires_at)
    return [token]


async def _key_list(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    found = await desk.keys.of_account(account.id)
    return [f"{key.id}\t{key.prefix}\t{key.scope}\t{key.name}\t{_day(key.last_used_at)}" for key in found]


async def _key_revoke(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    await desk.keys.revoke(account.id, arguments.id, COMMAND_LINE)
    return []


async def _invite_add(desk: Desk, arguments: Namespace) -> list[str]:
    if not desk.place.invites:
        raise RegistrationClosed("(AUTH_REGISTRATION is closed), not even with an invite")
    return [desk.place.public_url + (await desk.links.invite(COMMAND_LINE, arguments.days * _DAY_SECONDS)).path]


async def _invite_list(desk: Desk, _: Namespace) -> list[str]:
    return [f"{link.id}\t{_day(link.expires_at)}" for link in await desk.links.invites()]


async def _invite_revoke(desk: Desk, arguments: Namespace) -> list[str]:
    await desk.links.revoke_invite(arguments.id, COMMAND_LINE)
    return []


async def _session_list(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    found = await desk.sessions.of_account(account.id)
    return [f"{one.id}\t{_day(one.last_used_at)}\t{one.device}" for one in found]


async def _session_revoke(desk: Desk, arguments: Namespace) -> list[str]:
    account = await desk.administration.named(arguments.name)
    if arguments.all:
        await desk.sessions.revoke_others(account.id, None, COMMAND_LINE)
    else:
        await desk.sessions.revoke(account.id, arguments.id, COMMAND_LINE)
    return []


Command = Callable[[Desk, Namespace], Awaitable[list[str]]]

_COMMANDS: Final[dict[tuple[str, str], Command]] = {
    ("user", "add"): _user_add,
    ("user", "list"): _user_list,
    ("user", "disable"): _user_change(lambda _: Change(disabled=True)),
    ("user", "enable"): _user_change(lambda _: Change(disabled=False)),
    ("user", "role"): _user_change(lambda arguments: Change(role=arguments.role)),
    ("user", "limits"): _user_limits,
    ("user", "reset"): _user_reset,
    ("user", "delete"): _user_delete,
    ("key", "add"): _key_add,
    ("key", "list"): _key_list,
    ("key", "revoke"): _key_revoke,
    ("invite", "add"): _invite_add,
    ("invite", "list"): _invite_list,
    ("invite", "revoke"): _invite_revoke,
    ("session", "list"): _session_list,
    ("session", "revoke"): _session_revoke,
}


def _line(account: Account) -> str:
    return f"{account.name}\t{account.role}\t{account.id}" + "\tdisabled" * account.disabled


def _day(seconds: int | None) -> str:
    # What is stored may be later than the last day that Python knows.
    return datetime.fromtimestamp(min(seconds, _LAST), UTC).isoformat(timespec="minutes") if seconds else "never"


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise UnsuitablePassword("Expected a password in UTF-8 on standard input.") from None
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise UnsuitablePassword("The two passwords differ.")
    return password
