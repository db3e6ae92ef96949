"""`gateway`: serve until SIGTERM."""

import signal
import sys
from typing import NoReturn

import uvicorn
from pydantic import ValidationError

from gateway.app import create_app
from gateway.settings import Settings, variable
from gateway.telemetry import configure_logging
from gateway.websocket_protocol import WebSocketProtocol

# The same limit as nginx's for a body.
MAX_FRAME_BYTES = 64 * 1024


def main() -> None:
    try:
        settings = Settings.from_environment()
    except ValidationError as exc:
        sys.exit("\n".join(f"gateway: {variable(*error['loc'])}: {error['msg']}" for error in exc.errors()))
    except ValueError as exc:
        sys.exit(f"gateway: {exc}")
    configure_logging()
    # uvicorn drains on SIGTERM and then raises it again for the previous handler: exit with 0, not with 143.
    signal.signal(signal.SIGTERM, _exit)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        ws=WebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        # 32 kB a socket instead of 67, and 8-13 us less a frame.
        ws_per_message_deflate=False,
        # A client that answers no ping for 15 s is gone, or reads nothing; nginx waits as long for a silent gateway.
        ws_ping_interval=5,
        ws_ping_timeout=10,
        timeout_graceful_shutdown=2,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )


def _exit(*_: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
