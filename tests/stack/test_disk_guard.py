"""The guard of `secrets/start-redis.sh` beside a Redis of its own, on a disk of 192 MiB."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from dev import readiness
from dev.ports import free_port
from dev.process import Command, Process
from dev.redis_server import ADMIN_USER, guarded_arguments, users_acl
from dev.stack import ROOT
from tests.chaos.disk import Disk

PASSWORD = "pw"
MIB = 2**20
PIECES = 8
PIECE = 8 * MIB
NEEDED = {"info", "config|get", "config|set", "bgrewriteaof"}
# They need no log-in either.
OPEN_TO_ALL = {"auth", "hello", "quit", "reset"}


@dataclass(frozen=True)
class Guarded:
    process: Process
    disk: Disk
    folder: Path

    def client(self, user: str = ADMIN_USER) -> "Redis":
        return Redis(port=self.process.command.port, username=user, password=PASSWORD, decode_responses=True)

    @property
    def pieces(self) -> list[int]:
        """The sizes of the ballast's files."""
        return [one.stat().st_size for one in self.folder.glob("ballast.[0-9]")]

    def logged(self, pattern: str) -> list[re.Match[str]]:
        return list(re.finditer(f"^disk guard: {pattern}$", self.process.log.read_text(), re.MULTILINE))


@contextmanager
def guarded(disk: Disk, tmp_path: Path, *, ballast: int = PIECES, password: str = PASSWORD) -> Iterator[Guarded]:
    port, acl_file, password_file = free_port(), tmp_path / "users.acl", tmp_path / "password"
    acl_file.write_text(
        users_acl(
            gateway_password=PASSWORD, auth_service_password=PASSWORD, guard_password=PASSWORD, admin_password=PASSWORD
        )
    )
    password_file.write_text(password)
    folder = tmp_path / "redis"
    command = guarded_arguments(port=port, folder=folder, acl_file=acl_file, password_file=password_file)
    environment = {"STORAGE_BALLAST_PIECES": str(ballast)}
    process = Process(
        Command("redis", command, lambda: readiness.redis(port), port, environment), tmp_path / "log", ROOT
    )
    process.start()
    try:
        process.wait_ready()
        yield Guarded(process, disk, folder)
    finally:
        process.kill()


@pytest.fixture
def without_ballast(disk: Disk, tmp_path: Path) -> Iterator[Guarded]:
    with guarded(disk, tmp_path, ballast=0) as redis:
        yield redis


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.05)


def is_refused(client: "Redis") -> bool:
    try:
        client.set("one", "more")
    except OutOfMemoryError:
        return True
    return False


def checks(client: "Redis") -> int:
    """How often the guard has looked."""
    return int(client.info("commandstats")["cmdstat_info"]["calls"])


def grow(client: "Redis", megabytes: int) -> None:
    """The append-only file, by writing the same key again."""
    for _ in range(megabytes):
        client.set("again", os.urandom(MIB))


def file_size(client: "Redis") -> int:
    return int(client.info("persistence")["aof_current_size"])


def percentage(client: "Redis") -> str:
    return str(client.config_get("auto-aof-rewrite-percentage")["auto-aof-rewrite-percentage"])


def test_what_it_does_is_logged_with_figures(without_ballast: Guarded) -> None:
    client = without_ballast.client()
    without_ballast.disk.leave(40 * MIB)
    until(lambda: is_refused(client))
    without_ballast.disk.empty()
    until(lambda: not is_refused(client))
    [refused] = without_ballast.logged(r"(\d+) KiB free, (\d+) needed: new data is refused")
    assert int(refused[1]) <= 40 * 1024 < 64 * 1024 <= int(refused[2])
    [accepted] = without_ballast.logged(r"(\d+) KiB free, (\d+) needed: new data is accepted again")
    assert int(accepted[1]) >= int(accepted[2])
    assert client.config_get("maxmemory")["maxmemory"] == str(2**30)


def test_it_says_that_it_cannot_look(disk: Disk, tmp_path: Path) -> None:
    with guarded(disk, tmp_path, password="another") as redis:
        until(lambda: redis.logged("redis does not answer its user guard: the disk is not watched"))
        assert redis.process.running


def test_its_user_may_run_what_it_needs_and_nothing_else(without_ballast: Guarded) -> None:
    admin = without_ballast.client()

    def may_run(name: str, arity: int) -> bool:
        words = name.split("|")
        missing = ["x"] * (abs(arity) - len(words))
        return bool(admin.acl_dryrun("guard", *words, *missing) == "OK")

    known: list[tuple[str, int]] = []
    for command in admin.command().values():
        known += [(one[0], one[1]) for one in command["subcommands"]] or [(command["name"], command["arity"])]
    assert len(known) > 300
    assert {name for name, arity in known if may_run(name, arity)} == NEEDED | OPEN_TO_ALL


def test_no_setting_leads_it_out_of_the_folder(without_ballast: Guarded) -> None:
    guard = without_ballast.client("guard")
    for name in ("dir", "dbfilename", "aclfile", "appenddirname"):
        with pytest.raises(ResponseError):
            guard.config_set(name, "elsewhere")


def test_the_ballast_is_given_up_for_something_else_and_restored(disk: Disk, tmp_path: Path) -> None:
    with guarded(disk, tmp_path) as redis:
        client = redis.client()
        client.set("kept", "x")
        until(lambda: redis.pieces == [PIECE] * PIECES)
        disk.fill()
        until(lambda: len(redis.pieces) < PIECES - 1)
        until(lambda: is_refused(client))
        assert client.delete("kept") == 1
        assert redis.process.running
        disk.empty()
        until(lambda: redis.pieces == [PIECE] * PIECES)
        assert not is_refused(client)
    assert redis.logged("the disk is full: released a piece of the ballast")


def test_a_disk_that_is_full_at_the_start_gets_the_ballast_first(disk: Disk, tmp_path: Path) -> None:
    with guarded(disk, tmp_path) as redis:
        redis.client().set("kept", "x")
        until(lambda: len(redis.pieces) == PIECES)
    disk.fill()
    with guarded(disk, tmp_path) as redis:
        assert len(redis.pieces) < PIECES
        client = redis.client()
        until(lambda: is_refused(client))
        assert client.delete("kept") == 1


def test_a_file_that_has_grown_is_rewritten_while_there_is_room(without_ballast: Guarded) -> None:
    client = without_ballast.client()
    grow(client, 30)
    without_ballast.disk.leave(50 * MIB)
    until(lambda: without_ballast.logged(r"rewriting the append-only file, which has \d+ KiB for \d+ KiB of data"))
    until(lambda: file_size(client) < 4 * MIB)
    assert client.exists("again")


def test_no_rewrite_is_started_without_room_for_it(without_ballast: Guarded) -> None:
    client = without_ballast.client()
    assert percentage(client) == "100"
    grow(client, 30)
    without_ballast.disk.leave(20 * MIB)
    until(lambda: percentage(client) == "0")
    client.config_set("auto-aof-rewrite-min-size", "1mb")  # Redis would do it by itself now
    seen = checks(client)
    until(lambda: checks(client) > 5 + seen)
    assert file_size(client) > 30 * MIB
    assert client.info("persistence")["aof_rewrite_in_progress"] == 0
    assert not without_ballast.logged("rewriting .*")
    without_ballast.disk.empty()
    until(lambda: percentage(client) == "100")
    until(lambda: file_size(client) < 4 * MIB)
