"""Tests of auth_service.accounts."""

import pytest

from auth_service.accounts import canonicalize_email, canonicalize_name
from auth_service.errors import UnsuitableEmail, UnsuitableName


@pytest.mark.parametrize("name", ["a", "12345", "alice", "a.b_c-d", "x" * 64])
def test_a_plain_name_is_its_own_canonical_form(name: str) -> None:
    assert canonicalize_name(name) == name


def test_names_that_differ_only_in_case_are_the_same() -> None:
    assert canonicalize_name("ADMIN") == canonicalize_name("Admin") == "admin"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        "two words",
        "admin\n",
        "admin\x00",
        "\u0430dmin",  # a Cyrillic letter
        "\uff41dmin",  # a full-width letter
        "\u212aate",  # the Kelvin sign, which folds to k
        "ad\u200bmin",  # a zero-width space
        "adm\u0131n",  # a dotless i
        "\u202eadmin",
        "a/b",
        "*",
        "\ud800",
    ],
)
def test_a_name_that_resembles_another_one_is_rejected(name: str) -> None:
    with pytest.raises(UnsuitableName):
        canonicalize_name(name)


def test_addresses_that_differ_only_in_case_are_the_same() -> None:
    assert canonicalize_email("Mike@Example.ORG") == canonicalize_email("mike@example.org") == "mike@example.org"


@pytest.mark.parametrize(
    "email",
    [
        "mi\u212ae@example.org",  # the Kelvin sign, which folds to k
        "mike@stra\u00dfe.de",  # which folds to strasse.de
        "\uff4dike@example.org",
        "m\u0131ke@example.org",
        "mike@ex\u0430mple.org",
        "mike\u200b@example.org",
        "mike@example.org\n",
        "mike@ example.org",
        "mike@example.org@example.net",
        "mike\x7f@example.org",
        "@example.org",
        "mike@",
        "\ud800@example.org",
    ],
)
def test_an_address_that_resembles_another_one_is_rejected(email: str) -> None:
    with pytest.raises(UnsuitableEmail):
        canonicalize_email(email)
