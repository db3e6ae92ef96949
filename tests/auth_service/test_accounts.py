import pytest

from auth_service.accounts import canonical_name
from auth_service.errors import UnsuitableName


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
