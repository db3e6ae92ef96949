"""Accounts of a running stack, created in this process: each start of the command line takes a second of CPU."""

from collections.abc import Mapping, Sequence

from anyio.from_thread import start_blocking_portal

from auth_service.audit import COMMAND_LINE
from auth_service.command_line.context import CommandConfig, open_context
from auth_service.tokens import Scope, SessionLifetime
from dev.stack import Stack

_DAY_SECONDS = 86400


def create_accounts(stack: Stack, passwords: Mapping[str, str], keys: Sequence[str] = ()) -> list[str]:
    """As `auth-service user add` and `key add`: the first account of a stack is an administrator. Returns an API key
    for each name in `keys`."""
    with start_blocking_portal() as portal:  # an event loop may be running in the caller's thread
        return portal.call(_create, _config(stack), passwords, keys)


async def _create(config: CommandConfig, passwords: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    async with open_context(config) as context:
        for name, password in passwords.items():
            await context.administration.add_user(name, password, None, COMMAND_LINE)
        accounts = [await context.administration.get_by_name(name) for name in keys]
        return [(await context.keys.create(one, "test", Scope.CHAT, COMMAND_LINE))[1] for one in accounts]


def _config(stack: Stack) -> CommandConfig:
    environment = stack.processes["auth-service"].command.environment
    return CommandConfig(
        database_url=environment["AUTH_DATABASE_URL"],
        redis=(environment["AUTH_REDIS_URL"], environment["AUTH_REDIS_USER"], environment["AUTH_REDIS_PASSWORD"]),
        audit_retention_seconds=_DAY_SECONDS,
        lifetime=SessionLifetime(idle_seconds=_DAY_SECONDS, absolute_seconds=_DAY_SECONDS),
        public_url="",
        invites_enabled=False,
    )
