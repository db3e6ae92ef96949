import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import uvicorn

from auth_service import settings, telemetry
from auth_service.command_line.commands import run
from auth_service.command_line.desk import Place
from auth_service.command_line.parser import parser
from auth_service.errors import AuthError, StoreUnavailable
from auth_service.settings import InvalidSettings, Settings
from auth_service.store.migration import migrate
from auth_service.tokens import Lifetime

_DRAIN_SECONDS: Final = 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    telemetry.configure()
    # The database, and the write-ahead log beside it, hold password hashes.
    os.umask(0o077)
    try:
        chosen = settings.load()
        if arguments.command != "serve":
            asyncio.run(run(arguments, _place(chosen)))
            return 0
        # Before the server opens it again: here a failure is a sentence, from the lifespan it is a traceback.
        asyncio.run(migrate(chosen.database_url.get_secret_value()))
        return _serve(chosen)
    except StoreUnavailable as exc:
        return _refused(f"The database that AUTH_DATABASE_URL names cannot be used: {exc.reason}.")
    except (InvalidSettings, AuthError) as exc:
        return _refused(str(exc))


def _place(chosen: Settings) -> Place:
    return Place(
        database_url=chosen.database_url.get_secret_value(),
        redis=(chosen.redis_url, chosen.redis_user, chosen.redis_password.get_secret_value()),
        audit_retention_seconds=chosen.audit_retention_seconds,
        lifetime=Lifetime(chosen.session_idle_seconds, chosen.session_absolute_seconds),
        public_url=chosen.public_url,
        invites=chosen.registration != "closed",
    )


def _serve(chosen: Settings) -> int:
    # Half of what there is to import is of no use to the commands, which a person waits for.
    from auth_service.app import create_app  # noqa: PLC0415

    config = uvicorn.Config(
        create_app(chosen),
        host=chosen.host,
        port=chosen.port,
        ws="none",
        lifespan="on",
        log_config=None,
        # Its lines carry query strings; nginx writes the access log.
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(chosen.trusted_proxies),
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    # uvicorn drains on SIGTERM and then raises the signal again, for whoever had it before: a clean exit, not 143.
    signal.signal(signal.SIGTERM, _leave)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        return 130
    return 0


def _refused(sentence: str) -> int:
    sys.stderr.write(f"auth-service: {sentence}\n")
    return 2


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
