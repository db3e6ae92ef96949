"""A real PostgreSQL server on a free port, with a temporary data directory."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dev.ports import free_port

# PostgreSQL refuses to run as root.
_UNPRIVILEGED_USER: Final = "nobody"
_FAST: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")

# One statement, because each is a process of its own.
_TRUNCATE: Final = """DO $$
DECLARE names text;
BEGIN
  SELECT string_agg(quote_ident(tablename), ', ') INTO names FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'alembic_version';
  IF names IS NOT NULL THEN EXECUTE 'TRUNCATE ' || names || ' RESTART IDENTITY'; END IF;
END $$"""


@dataclass(frozen=True)
class PostgreSQL:
    port: int
    process: "subprocess.Popen[bytes]"

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://parley@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, database: str = "postgres") -> str:
        """Returns the result, one row per line."""
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "parley", "-d", database)
        command = [_binary("psql"), *address, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def empty(self, database: str) -> None:
        """Deletes all rows; the schema stays."""
        self.run(_TRUNCATE, database)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops all processes of the server, like a machine that hangs."""
        processes = [self.process.pid, *_children(self.process.pid)]
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)

    def disconnect_clients(self) -> None:
        """Ends all connections, like a restart."""
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


@contextmanager
def running() -> Iterator[PostgreSQL]:
    folder = Path(tempfile.mkdtemp(prefix="parley-postgresql-"))
    user = _UNPRIVILEGED_USER if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    initialise = ["-U", "parley", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D", str(data)]
    subprocess.run([_binary("initdb"), *initialise], user=user, check=True, capture_output=True, cwd="/")
    port = free_port()
    listening = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [_binary("postgres"), "-D", str(data), *listening, *_FAST], user=user, stdout=log, stderr=log, cwd="/"
        )
    server = PostgreSQL(port, process)
    try:
        _wait_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # a "fast" shutdown: a "smart" one waits for all clients to disconnect
        process.wait()
        shutil.rmtree(folder)


def _wait_ready(server: PostgreSQL) -> None:
    while server.process.poll() is None:
        try:
            server.run("SELECT 1")
        except subprocess.CalledProcessError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("PostgreSQL ended while it started")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _binary(name: str) -> str:
    """Debian installs a server's programs outside of PATH, in one directory per version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or name
