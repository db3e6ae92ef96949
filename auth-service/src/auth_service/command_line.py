import argparse
import getpass
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from auth_service.accounts import Role
from auth_service.administration import Administration
from auth_service.errors import UnsuitablePassword
from auth_service.hashing import Argon2id
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.migration import opened
from auth_service.tokens import Scope


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="auth-service", description="Parley's accounts.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve HTTP at AUTH_HOST:AUTH_PORT")

    user = commands.add_parser("user", help="add or list users").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    add = user.add_parser("add", help="add a user; the password is asked for, or read from standard input")
    add.add_argument("name")
    add.add_argument("--admin", action="store_true", help="make the user an administrator")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    user.add_parser("list", help="list the users: name, role, id")

    key = commands.add_parser("key", help="add API keys").add_subparsers(dest="action", required=True, metavar="ACTION")
    add = key.add_parser("add", help="make an API key for a user and print it, this once")
    add.add_argument("name", metavar="user")
    add.add_argument("--name", dest="label", default="command line", help="what the key is for")
    add.add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.CHAT)
    return top


async def run(arguments: argparse.Namespace, database_url: str) -> None:
    """Raises AuthError."""
    match arguments.command, arguments.action:
        case "user", "add":
            password = _password(from_stdin=arguments.password_stdin or not sys.stdin.isatty())
            role = Role.ADMIN if arguments.admin else Role.USER
            async with _administration(database_url) as administration:
                account = await administration.add_user(arguments.name, password, role)
            _print(f"{account.name}\t{account.role}\t{account.id}")
        case "user", "list":
            async with _administration(database_url) as administration:
                for account in await administration.users():
                    _print(f"{account.name}\t{account.role}\t{account.id}" + "\tdisabled" * account.disabled)
        case "key", "add":
            async with _administration(database_url) as administration:
                _print(await administration.add_key(arguments.name, arguments.label, arguments.scope))


@asynccontextmanager
async def _administration(database_url: str) -> AsyncGenerator[Administration]:
    async with opened(database_url) as database:
        yield Administration(AccountStore(database), ApiKeyStore(database), Argon2id())


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise UnsuitablePassword("Expected a password in UTF-8 on standard input.") from None
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise UnsuitablePassword("The two passwords differ.")
    return password


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
