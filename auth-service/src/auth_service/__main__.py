import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import uvicorn

from auth_service import command_line, settings, telemetry
from auth_service.app import create_app
from auth_service.errors import AuthError, StoreUnavailable
from auth_service.settings import InvalidSettings, Settings
from auth_service.store.migration import migrate

_DRAIN_SECONDS: Final = 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = command_line.parser().parse_args(argv)
    telemetry.configure()
    # The database, and the write-ahead log beside it, hold password hashes.
    os.umask(0o077)
    try:
        chosen = settings.load()
        database_url = chosen.database_url.get_secret_value()
        if arguments.command != "serve":
            asyncio.run(command_line.run(arguments, database_url))
            return 0
        # Before the server opens it again: here a failure is a sentence, from the lifespan it is a traceback.
        asyncio.run(migrate(database_url))
        return _serve(chosen)
    except StoreUnavailable as exc:
        return _refused(f"The database that AUTH_DATABASE_URL names cannot be used: {exc.reason}.")
    except (InvalidSettings, AuthError) as exc:
        return _refused(str(exc))


def _serve(chosen: Settings) -> int:
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
