import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from auth_service.accounts import Role, UsageLimits
from auth_service.one_time_links import INVITE_SECONDS
from auth_service.tokens import Scope

_MOST_DAYS: Final = 3650
# None is a limit that can be given: the deployment's default.
UNSET: Final = object()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="auth-service", description="Parley's accounts.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve HTTP at AUTH_HOST:AUTH_PORT")
    _user(commands.add_parser("user", help="users: add, list, change, delete"))
    _key(commands.add_parser("key", help="API keys: add, list, revoke"))
    _invite(commands.add_parser("invite", help="one-time links to an account of one's own: add, list, revoke"))
    _session(commands.add_parser("session", help="log-ins: list, revoke"))
    return top


def _user(parser: argparse.ArgumentParser) -> None:
    actions = _actions(
        parser,
        {
            "add": "add a user; the password is asked for, or read from standard input; the first is an administrator",
            "list": "list the users: name, role, id",
            "disable": "let a user neither log in nor use what is open",
            "enable": "take that back",
            "reset": "print a one-time link with which the user chooses a new password",
            "delete": "delete a user and all of the user's conversations",
            "role": "make a user an administrator, or a user again",
            "limits": "set what a user may use, and print it; what is not given stays",
        },
    )
    for name, action in actions.items():
        if name != "list":
            action.add_argument("name")
    actions["add"].add_argument("--admin", action="store_true", help="make the user an administrator")
    actions["add"].add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    actions["role"].add_argument("role", type=Role, choices=list(Role))
    for field in fields(UsageLimits):
        option = f"--{field.name.replace('_', '-')}"
        actions["limits"].add_argument(option, type=_limit, default=UNSET, metavar="N", help="a number, or default")


def _key(parser: argparse.ArgumentParser) -> None:
    actions = _actions(
        parser,
        {
            "add": "make an API key for a user and print it, this once",
            "list": "list the keys of a user: id, beginning, scope, name",
            "revoke": "end a key",
        },
    )
    for action in actions.values():
        action.add_argument("name", metavar="user")
    actions["add"].add_argument("--name", dest="label", default="command line", help="what the key is for")
    actions["add"].add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.CHAT)
    actions["add"].add_argument("--days", type=_days, help="after how many days it expires (default: never)")
    actions["revoke"].add_argument("id")


def _invite(parser: argparse.ArgumentParser) -> None:
    actions = _actions(
        parser,
        {
            "add": "print a link with which somebody makes an account",
            "list": "list the invites that can still be used: id, end",
            "revoke": "end an invite",
        },
    )
    actions["add"].add_argument("--days", type=_days, default=INVITE_SECONDS // 86400, help="default: %(default)s")
    actions["revoke"].add_argument("id")


def _session(parser: argparse.ArgumentParser) -> None:
    actions = _actions(
        parser,
        {"list": "list the log-ins of a user: id, last use, device", "revoke": "end one log-in of a user, or all"},
    )
    for action in actions.values():
        action.add_argument("name", metavar="user")
    which = actions["revoke"].add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?")
    which.add_argument("--all", action="store_true")


def _limit(text: str) -> int | None:
    if text == "default":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise argparse.ArgumentTypeError(f"expected a number of at most 15 digits, or default, got {text[:20]!r}")
    return int(text)


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    if not 1 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST_DAYS}, got {text[:20]!r}")
    return days


def _actions(parser: argparse.ArgumentParser, described: Mapping[str, str]) -> dict[str, argparse.ArgumentParser]:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    return {name: actions.add_parser(name, help=text, description=text) for name, text in described.items()}
