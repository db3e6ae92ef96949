"""The folder of a demo: one demo at a time, and files that only we can read."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NOTE = "demo.json"


class AlreadyRuns(Exception):
    """One sentence for the user."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two demos would write the same database, log and note. The kernel gives the lock back whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRuns(f"a demo runs already with {folder}; stop it first") from None
        # A demo that was killed outright left its note, with pids that may belong to others by now.
        (folder / NOTE).unlink(missing_ok=True)
        yield


def write_private(file: Path, content: Mapping[str, object]) -> None:
    """At once or not at all, readable by us alone."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.replace(file)
