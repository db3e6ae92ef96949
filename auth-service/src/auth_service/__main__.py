import gc

# Imports make no garbage, and searching it takes a fifth of the start's CPU.
gc.disable()

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import uvicorn

from auth_service import telemetry
from auth_service.command_line.commands import run
from auth_service.command_line.context import CommandConfig
from auth_service.command_line.parser import parser
from auth_service.errors import AuthError, StoreUnavailable
from auth_service.settings import InvalidSettings, Settings, load
from auth_service.store.migration import migrate
from auth_service.tokens import SessionLifetime

gc.enable()

_SHUTDOWN_GRACE_SECONDS: Final = 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    telemetry.configure()
    # The database, and the write-ahead log beside it, hold password hashes.
    os.umask(0o077)
    try:
        settings = load()
        if arguments.command != "serve":
            asyncio.run(run(arguments, _command_config(settings)))
            return 0
        # Before the lifespan opens the database again: here a failure is one line, there it is a traceback.
        asyncio.run(migrate(settings.database_url.get_secret_value()))
        return _serve(settings)
    except StoreUnavailable as exc:
        return _fail(f"The database of AUTH_DATABASE_URL cannot be used: {exc.reason}.")
    except (InvalidSettings, AuthError) as exc:
        return _fail(str(exc))


def _command_config(settings: Settings) -> CommandConfig:
    return CommandConfig(
        database_url=settings.database_url.get_secret_value(),
        redis=(settings.redis_url, settings.redis_user, settings.redis_password.get_secret_value()),
        audit_retention_seconds=settings.audit_retention_seconds,
        lifetime=SessionLifetime(settings.session_idle_seconds, settings.session_absolute_seconds),
        public_url=settings.public_url,
        invites_enabled=settings.registration != "closed",
    )


def _serve(settings: Settings) -> int:
    # Imported late: the commands do not need half of the dependencies, and users wait for them to load.
    gc.disable()
    from auth_service.app import create_app  # noqa: PLC0415

    # Modules stay as long as the process: no collection has to visit them.
    gc.freeze()
    gc.enable()

    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        ws="none",
        lifespan="on",
        log_config=None,
        # It would contain query strings; nginx writes the access log.
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=_SHUTDOWN_GRACE_SECONDS,
    )
    # uvicorn drains on SIGTERM, then raises the signal again for the previous handler: exit with 0, not with 143.
    signal.signal(signal.SIGTERM, _exit_cleanly)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"auth-service: {message}\n")
    return 2


def _exit_cleanly(*_: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
