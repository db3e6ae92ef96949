"""A gateway that reports the CPU time of every step of its event loop that took long.

A step is one callback: nothing else runs on the loop meanwhile. CPU time and not time on a clock, because the machine
of a test has other work too.
"""

import asyncio
import gc
import json
import os
import threading
import time
from pathlib import Path

import uvicorn

from gateway.__main__ import MAX_FRAME_BYTES
from gateway.app import create_app
from gateway.settings import Settings
from gateway.telemetry import configure_logging
from gateway.websocket_protocol import WebSocketProtocol

REPORT_VARIABLE = "MEASURED_STEPS"
_REPORTED_SECONDS = 0.01


def main() -> None:
    report = Path(os.environ[REPORT_VARIABLE]).open("a", buffering=1)  # noqa: SIM115 - as long as the process
    loop_thread, run = threading.get_ident(), asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        if threading.get_ident() != loop_thread:
            run(handle)
            return
        what = repr(handle)  # a callback may have dropped its arguments afterwards
        began = time.thread_time()
        run(handle)
        took = time.thread_time() - began
        if took >= _REPORTED_SECONDS:
            report.write(json.dumps({"seconds": took, "step": what}) + "\n")

    settings = Settings.from_environment()
    configure_logging()
    app = create_app(settings)
    asyncio.Handle._run = measured  # type: ignore[assignment, method-assign]
    gc.freeze()
    uvicorn.run(
        app,
        port=settings.port,
        loop="asyncio",  # uvloop's handles are not Python's
        ws=WebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        access_log=False,
        log_config=None,
    )


if __name__ == "__main__":
    main()
