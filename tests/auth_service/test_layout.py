"""Tests of the layout of this folder: the docstring of a test module names the modules it tests."""

import re
from pathlib import Path

import auth_service

PACKAGE = Path(auth_service.__path__[0])
DOCSTRINGS = {file.name: file.read_text().partition("\n")[0] for file in Path(__file__).parent.glob("test_*.py")}
# Declarations that the tests of their users exercise.
WITHOUT_TESTS = {"errors"}


def modules() -> set[str]:
    """Returns dotted names without `auth_service.`; the migrations and the stores are tested as packages."""
    files = [file.relative_to(PACKAGE).with_suffix("") for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"]
    return {".".join(file.parts) for file in files if file.parts[0] != "migrations"} | {"migrations", "store"}


def named_in(docstring: str) -> set[str]:
    return {name.removeprefix("auth_service.") for name in re.findall(r"[a-z_]+(?:\.[a-z_]+)*", docstring)} & modules()


def test_every_test_module_names_what_it_tests() -> None:
    assert [name for name, first_line in DOCSTRINGS.items() if not first_line.startswith('"""Tests of ')] == []


def test_every_module_has_a_test_module() -> None:
    named = {module for docstring in DOCSTRINGS.values() for module in named_in(docstring)}
    tested = {module for module in modules() if module in named or module.partition(".")[0] in {"store"} & named}
    assert sorted(modules() - tested - WITHOUT_TESTS) == []


def test_a_test_module_with_the_name_of_a_module_tests_it() -> None:
    same_name = {name for name in modules() if f"test_{name}.py" in DOCSTRINGS}
    assert [name for name in sorted(same_name) if name not in named_in(DOCSTRINGS[f"test_{name}.py"])] == []
