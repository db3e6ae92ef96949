import pytest

from auth_service.accounts import canonical_email, canonical_name
from auth_service.errors import UnsuitableEmail, UnsuitableName


@pytest.mark.parametrize("name", ["a", "12345", "alice", "a.b_c-d", "x" * 64])
def test_a_plain_name_is_its_own_canonical_form(name: str) -> None:
    assert canonical_name(name) == name


def test_names_that_differ_in_case_alone_are_the_same() -> None:
    assert canonical_name("ADMIN") == canonical_name("Admin") == "admin"


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
        "ad\u200bmin",  # a space of no width
        "adm\u0131n",  # a dotless i
        "\u202eadmin",
        "a/b",
        "*",
        "\ud800",
    ],
)
def test_what_could_be_mistaken_for_another_name_is_no_name(name: str) -> None:
    with pytest.raises(UnsuitableName):
        canonical_name(name)


def test_addresses_that_differ_in_case_alone_are_the_same() -> None:
    assert canonical_email("Mike@Example.ORG") == canonical_email("mike@example.org") == "mike@example.org"


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
def test_what_could_be_taken_for_another_address_is_no_address(email: str) -> None:
    with pytest.raises(UnsuitableEmail):
        canonical_email(email)
