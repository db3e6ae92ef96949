"""The folder of a demo: one demo at a time, and files that only its owner can read."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STATE_FILE = "demo.json"


class AlreadyRunning(Exception):
    """One sentence for the user."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Two demos would write the same database, logs and state file. The kernel releases the lock whatever happens.
    Raises AlreadyRunning."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"a demo is already running in {folder}; stop it first") from None
        # A demo that was killed leaves its state file, with process ids that may since have been reused.
        (folder / STATE_FILE).unlink(missing_ok=True)
        yield


def write_private(file: Path, content: Mapping[str, object]) -> None:
    """Atomically, readable by its owner alone."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.replace(file)
