import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from auth_service.accounts import Role, UsageLimits
from auth_service.one_time_links import INVITE_SECONDS
from auth_service.tokens import Scope

_MAX_DAYS: Final = 3650
# Distinct from None, which resets a limit to the deployment's default.
UNSET: Final = object()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="auth-service", description="Serves and manages Parley's accounts.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve HTTP on AUTH_HOST:AUTH_PORT")
    _add_user_actions(commands.add_parser("user", help="add, list, change and delete users"))
    _add_key_actions(commands.add_parser("key", help="add, list and revoke API keys"))
    _add_invite_actions(commands.add_parser("invite", help="add, list and revoke invites to create an account"))
    _add_session_actions(commands.add_parser("session", help="list and revoke sessions"))
    return top


def _add_user_actions(parser: argparse.ArgumentParser) -> None:
    actions = _add_actions(
        parser,
        {
            "add": "add a user; prompts for the password or reads it from standard input; the first user becomes an "
            "administrator",
            "list": "list users: name, role, id",
            "disable": "disable a user: no log-in, and open sessions and API keys stop working",
            "enable": "enable a disabled user",
            "reset": "print a one-time link for setting a new password",
            "delete": "delete a user and all of their conversations",
            "role": "change the role of a user",
            "limits": "change the usage limits of a user and print all of them; omitted limits keep their value. "
            "They are stored and reported to the gateway, which does not enforce them yet",
        },
    )
    for name, action in actions.items():
        if name != "list":
            action.add_argument("name")
    actions["add"].add_argument("--admin", action="store_true", help="add the user as an administrator")
    actions["add"].add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    actions["role"].add_argument("role", type=Role, choices=list(Role))
    for field in fields(UsageLimits):
        option = f"--{field.name.replace('_', '-')}"
        actions["limits"].add_argument(option, type=_limit, default=UNSET, metavar="N", help="a number, or default")


def _add_key_actions(parser: argparse.ArgumentParser) -> None:
    actions = _add_actions(
        parser,
        {
            "add": "create an API key for a user and print it; it cannot be shown again",
            "list": "list the API keys of a user: id, prefix, scope, name, last use",
            "revoke": "revoke an API key",
        },
    )
    for action in actions.values():
        action.add_argument("name", metavar="user")
    actions["add"].add_argument("--name", dest="label", default="command line", help="a name for the key")
    actions["add"].add_argument("--scope", type=Scope, choices=list(Scope), default=Scope.CHAT)
    actions["add"].add_argument("--days", type=_days, help="days until the key expires (default: never)")
    actions["revoke"].add_argument("id")


def _add_invite_actions(parser: argparse.ArgumentParser) -> None:
    actions = _add_actions(
        parser,
        {
            "add": "print a one-time link for creating an account",
            "list": "list valid invites: id, expiry",
            "revoke": "revoke an invite",
        },
    )
    actions["add"].add_argument(
        "--days",
        type=_days,
        default=INVITE_SECONDS // 86400,
        help="days until the invite expires (default: %(default)s)",
    )
    actions["revoke"].add_argument("id")


def _add_session_actions(parser: argparse.ArgumentParser) -> None:
    actions = _add_actions(
        parser,
        {
            "list": "list the sessions of a user: id, last use, device",
            "revoke": "revoke one session of a user, or all of them",
        },
    )
    for action in actions.values():
        action.add_argument("name", metavar="user")
    target = actions["revoke"].add_mutually_exclusive_group(required=True)
    target.add_argument("id", nargs="?")
    target.add_argument("--all", action="store_true")


def _limit(text: str) -> int | None:
    if text == "default":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise argparse.ArgumentTypeError(f"expected a number of at most 15 digits, or default, got {text[:20]!r}")
    return int(text)


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    if not 1 <= days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MAX_DAYS}, got {text[:20]!r}")
    return days


def _add_actions(parser: argparse.ArgumentParser, help_texts: Mapping[str, str]) -> dict[str, argparse.ArgumentParser]:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    return {name: actions.add_parser(name, help=text, description=text) for name, text in help_texts.items()}
