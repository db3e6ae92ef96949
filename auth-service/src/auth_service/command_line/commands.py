import getpass
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Final

from auth_service.accounts import Account, Role, UsageLimits
from auth_service.administration import AccountChange
from auth_service.audit import COMMAND_LINE
from auth_service.command_line.context import CommandConfig, CommandContext, open_context
from auth_service.command_line.parser import UNSET
from auth_service.errors import InvitesDisabled, UnsuitablePassword

_DAY_SECONDS: Final = 86400
_MAX_TIMESTAMP: Final = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 1


async def run(arguments: Namespace, config: CommandConfig) -> None:
    """Raises AuthError."""
    # Before the database is opened, so that no connection waits for the user.
    if (arguments.command, arguments.action) == ("user", "add"):
        arguments.password = _read_password(from_stdin=arguments.password_stdin or not sys.stdin.isatty())
    async with open_context(config) as context:
        for line in await _COMMANDS[arguments.command, arguments.action](context, arguments):
            sys.stdout.write(line + "\n")


async def _user_add(context: CommandContext, arguments: Namespace) -> list[str]:
    role = Role.ADMIN if arguments.admin else None
    return [
        _format_account(await context.administration.add_user(arguments.name, arguments.password, role, COMMAND_LINE))
    ]


async def _user_list(context: CommandContext, _: Namespace) -> list[str]:
    return [_format_account(account) for account in await context.administration.list_users()]


def _user_change(change: Callable[[Namespace], AccountChange]) -> "Command":
    async def command(context: CommandContext, arguments: Namespace) -> list[str]:
        account = await context.administration.get_by_name(arguments.name)
        return [_format_account(await context.administration.change(account.id, change(arguments), COMMAND_LINE))]

    return command


async def _user_limits(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    options = {field.name: getattr(arguments, field.name) for field in fields(UsageLimits)}
    limits = {name: limit for name, limit in options.items() if limit is not UNSET}
    changed = await context.administration.change(account.id, AccountChange(limits=limits), COMMAND_LINE)
    return [f"{name}\t{'default' if limit is None else limit}" for name, limit in asdict(changed.limits).items()]


async def _user_reset(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    return [context.config.public_url + (await context.links.create_reset(account.id, COMMAND_LINE)).path]


async def _user_delete(context: CommandContext, arguments: Namespace) -> list[str]:
    await context.administration.delete(await context.administration.get_by_name(arguments.name), COMMAND_LINE)
    return []


async def _key_add(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    expires_at = None if arguments.days is None else int(time.time()) + arguments.days * _DAY_SECONDS
    _, token = await context.keys.create(account, arguments.label, arguments.scope, COMMAND_LINE, expires_at)
    return [token]


async def _key_list(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    keys = await context.keys.list_by_account(account.id)
    return [f"{key.id}\t{key.prefix}\t{key.scope}\t{key.name}\t{_format_time(key.last_used_at)}" for key in keys]


async def _key_revoke(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    await context.keys.revoke(account.id, arguments.id, COMMAND_LINE)
    return []


async def _invite_add(context: CommandContext, arguments: Namespace) -> list[str]:
    if not context.config.invites_enabled:
        raise InvitesDisabled
    invite = await context.links.create_invite(COMMAND_LINE, arguments.days * _DAY_SECONDS)
    return [context.config.public_url + invite.path]


async def _invite_list(context: CommandContext, _: Namespace) -> list[str]:
    return [f"{link.id}\t{_format_time(link.expires_at)}" for link in await context.links.list_invites()]


async def _invite_revoke(context: CommandContext, arguments: Namespace) -> list[str]:
    await context.links.revoke_invite(arguments.id, COMMAND_LINE)
    return []


async def _session_list(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    sessions = await context.sessions.list_by_account(account.id)
    return [f"{session.id}\t{_format_time(session.last_used_at)}\t{session.device}" for session in sessions]


async def _session_revoke(context: CommandContext, arguments: Namespace) -> list[str]:
    account = await context.administration.get_by_name(arguments.name)
    if arguments.all:
        await context.sessions.revoke_others(account.id, None, COMMAND_LINE)
    else:
        await context.sessions.revoke(account.id, arguments.id, COMMAND_LINE)
    return []


Command = Callable[[CommandContext, Namespace], Awaitable[list[str]]]

_COMMANDS: Final[dict[tuple[str, str], Command]] = {
    ("user", "add"): _user_add,
    ("user", "list"): _user_list,
    ("user", "disable"): _user_change(lambda _: AccountChange(disabled=True)),
    ("user", "enable"): _user_change(lambda _: AccountChange(disabled=False)),
    ("user", "role"): _user_change(lambda arguments: AccountChange(role=arguments.role)),
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


def _format_account(account: Account) -> str:
    return f"{account.name}\t{account.role}\t{account.id}" + "\tdisabled" * account.disabled


def _format_time(seconds: int | None) -> str:
    # A stored time may exceed the latest one that datetime supports.
    return (
        datetime.fromtimestamp(min(seconds, _MAX_TIMESTAMP), UTC).isoformat(timespec="minutes") if seconds else "never"
    )


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise UnsuitablePassword("Expected a password in UTF-8 on standard input.") from None
    password = getpass.getpass("Password: ")
    if getpass.getpass("Repeat the password: ") != password:
        raise UnsuitablePassword("The two passwords do not match.")
    return password
