"""What may be a password: a length and a blocklist, no rules of composition (NIST SP 800-63B-4, ASVS 5 6.2)."""

import unicodedata
from functools import cache
from importlib import resources
from typing import Final

from auth_service.errors import UnsuitablePassword

SHORTEST: Final = 8
LONGEST: Final = 128


def normalised(text: str) -> str:
    """NFC, so that the same word typed on two keyboards is the same password.

    Raises UnsuitablePassword above the limit: called before any hashing, at log-in too.
    """
    password = unicodedata.normalize("NFC", text)
    if len(password) > LONGEST:
        raise UnsuitablePassword(f"Expected a password of at most {LONGEST} characters, got {len(password)}.")
    return password


def acceptable(text: str, *, name: str) -> str:
    """The normalised new password of the user `name`. Raises UnsuitablePassword."""
    password = normalised(text)
    if len(password) < SHORTEST:
        raise UnsuitablePassword(f"Expected a password of at least {SHORTEST} characters, got {len(password)}.")
    folded = password.casefold()
    if folded in _common():
        raise UnsuitablePassword("This password is among the first that are tried: choose another.")
    if len(folded.replace(name, "")) <= 3:
        raise UnsuitablePassword("This password is little more than the user's name: choose another.")
    return password


@cache
def _common() -> frozenset[str]:
    lines = (resources.files("auth_service") / "common_passwords.txt").read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split(" "))
