"""The tests mirror the gateway: `routes/socket.py` is tested by `routes/test_socket.py`, or by the test module whose
docstring names `socket`."""

import ast
import re
from pathlib import Path

import pytest

import gateway

PACKAGE = Path(gateway.__path__[0])
TESTS = Path(__file__).parent
# Declarations without behaviour of their own, and the wiring that every test of tests/stack runs.
WITHOUT_TESTS = {"__main__", "app", "clients", "errors", "runtime/ports", "routes/ports", "routes/state"}


def modules() -> list[str]:
    """As paths without `.py`, such as `store/leases`."""
    files = [file.relative_to(PACKAGE).with_suffix("") for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"]
    return sorted(name for file in files if (name := file.as_posix()) not in WITHOUT_TESTS)


def named_in_docstrings(folder: Path) -> set[str]:
    docstrings = (ast.get_docstring(ast.parse(file.read_text())) or "" for file in folder.glob("test_*.py"))
    return {name for docstring in docstrings for name in re.findall(r"`([a-z_]+)`", docstring)}


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_test_module(module: str) -> None:
    folder, name = (TESTS / module).parent, Path(module).name
    assert (folder / f"test_{name}.py").exists() or name in named_in_docstrings(folder)
