"""Tests of auth_service.__main__ and the commands, as processes."""

import asyncio
import os
import pty
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.auth_service.conftest import PASSWORD, sqlite_only
from tests.auth_service.processes import command, serving, start

pytestmark = sqlite_only

Environment = dict[str, str]


async def test_a_user_is_added_with_a_password_from_standard_input_and_the_first_as_an_administrator(
    environment: Environment,
) -> None:
    first = await command(environment, "user", "add", "Alice", "--password-stdin", stdin="correct horse battery\n")
    assert first.status == 0, first.err
    assert re.fullmatch(r"alice\tadmin\tuser_[0-9a-f]{32}\n", first.out)
    second = await command(environment, "user", "add", "bob", "--password-stdin", stdin="correct horse battery\n")
    assert re.fullmatch(r"bob\tuser\tuser_[0-9a-f]{32}\n", second.out)
    listed = await command(environment, "user", "list")
    assert listed.out == first.out + second.out


async def test_without_a_terminal_the_password_is_read_from_standard_input(environment: Environment) -> None:
    added = await command(environment, "user", "add", "root", "--admin", stdin="correct horse battery")
    assert added.out.startswith("root\tadmin\t"), added.err


@pytest.mark.parametrize(("again", "status"), [("correct horse battery", 0), ("correct horse batterx", 2)])
async def test_a_terminal_is_prompted_for_the_password_twice_without_echo(
    environment: Environment, again: str, status: int
) -> None:
    terminal, stdin = pty.openpty()
    process = await start(environment, "user", "add", "alice", stdin=stdin)
    os.close(stdin)
    assert process.stderr is not None
    # getpass discards input that was typed before its prompt, so each password waits for its prompt.
    assert await process.stderr.readuntil(b": ") == b"Password: "
    os.write(terminal, b"correct horse battery\n")
    assert await process.stderr.readuntil(b": ") == b"\nRepeat the password: "
    os.write(terminal, again.encode() + b"\n")
    await process.communicate()
    assert process.returncode == status
    with pytest.raises(OSError, match="Input/output error"):  # the other end is closed, and there was no echo
        os.read(terminal, 1000)
    os.close(terminal)


async def test_the_account_of_the_original_page_can_be_added(environment: Environment) -> None:
    added = await command(environment, "user", "add", "12345", "--password-stdin", stdin="x" * 26 + "\n")
    assert added.status == 0, added.err


async def test_only_its_owner_can_read_the_database(environment: Environment, tmp_path: Path) -> None:
    await command(environment, "user", "list")
    assert stat.S_IMODE((tmp_path / "auth.db").stat().st_mode) == 0o600


async def test_standard_output_contains_only_the_key(environment: Environment) -> None:
    await command(environment, "user", "add", "alice", stdin="correct horse battery")
    created = await command(environment, "key", "add", "ALICE", "--name", "laptop")
    assert created.status == 0, created.err
    assert re.fullmatch(r"pk_[A-Za-z0-9_-]{43}\n", created.out)
    assert created.err == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["user", "add", "bob"], "x" * 129, "Expected a password of at most 128 characters, got 129.\n"),
        (["user", "add", "bob"], b"\xff\xfe horse battery", "Expected a password in UTF-8"),
        (["key", "add", "nobody"], "", "There is no user named nobody.\n"),
        (["key", "add", "alice", "--scope", "root"], "", "'root'"),
        ([], "", "the following arguments are required: COMMAND\n"),
    ],
)
async def test_a_failed_command_prints_one_message_and_exits_with_2(
    environment: Environment, arguments: list[str], stdin: str | bytes, message: str
) -> None:
    failed = await command(environment, *arguments, stdin=stdin)
    assert failed.status == 2
    assert failed.out == ""
    assert message in failed.err
    assert "Traceback" not in failed.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AUTH_INTROSPECTION_CREDENTIAL": "changeme" * 5}, "AUTH_INTROSPECTION_CREDENTIAL is invalid: expected"),
        ({"AUTH_NONSENSE": "1"}, "AUTH_NONSENSE is not a setting of auth-service"),
        ({"AUTH_DATABASE_URL": "sqlite+aiosqlite:////nowhere/auth.db"}, "cannot be used: unable to open database file"),
    ],
)
async def test_a_server_that_cannot_start_prints_one_line(
    environment: Environment, change: Environment, message: str
) -> None:
    failed = await command(environment | change, "serve")
    assert failed.status == 2
    assert message in failed.err
    assert failed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["serve"], ["user", "list"]], ids=str)
async def test_a_database_migrated_by_a_newer_version_is_reported_as_such(
    environment: Environment, tmp_path: Path, arguments: list[str]
) -> None:
    assert (await command(environment, "user", "list")).status == 0
    with closing(sqlite3.connect(tmp_path / "auth.db")) as file, file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    failed = await command(environment, *arguments)
    assert failed.status == 2
    assert "cannot be used: a newer version has changed its schema; run that version" in failed.err
    assert failed.err.count("\n") == 1


async def test_commands_in_their_own_process_change_users_keys_invites_and_sessions_of_a_running_server(
    environment: Environment,
) -> None:
    environment |= {"AUTH_REGISTRATION": "invite", "AUTH_PUBLIC_URL": "https://chat.example.org"}

    async def run_command(*arguments: str, stdin: str = "") -> list[list[str]]:
        finished = await command(environment, *arguments, stdin=stdin)
        assert (finished.status, finished.err) == (0, ""), finished.err
        return [line.split("\t") for line in finished.out.splitlines()]

    async def revoke_session(http: httpx2.AsyncClient) -> None:
        answer = await http.post("/auth/login", json={"username": "alice", "password": PASSWORD})
        assert answer.status_code == 200
        [[session, _, _]] = await run_command("session", "list", "alice")
        assert await run_command("session", "revoke", "alice", session) == []
        assert (await http.get("/auth/me")).status_code == 401

    async def revoke_key(http: httpx2.AsyncClient) -> None:
        [[key]] = await run_command("key", "add", "alice", "--days", "3650")
        headers = {"Authorization": f"Bearer {key}"}
        assert (await http.post("/auth/tickets", headers=headers)).status_code == 200
        [[key_id, *_]] = await run_command("key", "list", "alice")
        assert await run_command("key", "revoke", "alice", key_id) == []
        assert (await http.post("/auth/tickets", headers=headers)).status_code == 401

    async def revoke_invite(http: httpx2.AsyncClient) -> None:
        [[link]] = await run_command("invite", "add", "--days", "3650")
        [[invite_id, _]] = await run_command("invite", "list")
        assert await run_command("invite", "revoke", invite_id) == []
        body = {"username": "bob", "password": PASSWORD, "invite": link.partition("/#invite=")[2]}
        assert (await http.post("/auth/register", json=body)).status_code == 400

    for name in ["root", "alice"]:
        await run_command("user", "add", name, stdin=f"{PASSWORD}\n")
    async with serving(environment) as server, server.http() as http:
        await asyncio.gather(revoke_session(http), revoke_key(http), revoke_invite(http))
        [[link]] = await run_command("user", "reset", "alice")
        body = {"token": link.partition("/#reset=")[2], "password": "another horse battery"}
        assert (await http.post("/auth/reset", json=body)).status_code == 204
        [[*_, disabled]] = await run_command("user", "disable", "alice")
        assert disabled == "disabled"
        login = {"username": "alice", "password": "another horse battery"}
        assert (await http.post("/auth/login", json=login)).status_code == 401
        await run_command("user", "enable", "alice")
        assert (await http.post("/auth/login", json=login)).status_code == 200
        assert await run_command("user", "delete", "alice") == []
    assert [name for name, *_ in await run_command("user", "list")] == ["root"]
