"""The password policy: a length and a blocklist, no composition rules (NIST SP 800-63B-4, ASVS 5 6.2)."""

import unicodedata
from functools import cache
from importlib import resources
from typing import Final

from auth_service.errors import UnsuitablePassword

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128


def normalize_password(text: str) -> str:
    """Returns the password in NFC, so that two keyboards produce the same password for the same word.

    Raises UnsuitablePassword if it is too long: called before any hashing, also at log-in.
    """
    password = unicodedata.normalize("NFC", text)
    if len(password) > MAX_LENGTH:
        raise UnsuitablePassword(f"Expected a password of at most {MAX_LENGTH} characters, got {len(password)}.")
    return password


def validate_new_password(text: str, *, name: str) -> str:
    """Returns the normalized new password of the user `name`. Raises UnsuitablePassword."""
    password = normalize_password(text)
    if len(password) < MIN_LENGTH:
        raise UnsuitablePassword(f"Expected a password of at least {MIN_LENGTH} characters, got {len(password)}.")
    folded = password.casefold()
    if folded in _common_passwords():
        raise UnsuitablePassword("This password is on the list of common passwords: choose another one.")
    if len(folded.replace(name, "")) <= 3:
        raise UnsuitablePassword("This password is too similar to the user name: choose another one.")
    return password


@cache
def _common_passwords() -> frozenset[str]:
    lines = (resources.files("auth_service") / "common_passwords.txt").read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split(" "))
