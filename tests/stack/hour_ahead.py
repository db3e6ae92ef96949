"""The gateway as a process whose clock is an hour ahead: python -m tests.stack.hour_ahead."""

import time

from gateway.__main__ import main

_HOUR_SECONDS = 3600
_read_clock = time.time


def _hour_ahead() -> float:
    return _read_clock() + _HOUR_SECONDS


if __name__ == "__main__":
    # A clock of its own for this process: the kernel has no namespace for it.
    time.time = _hour_ahead
    main()
