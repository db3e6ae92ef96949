"""The tests mirror the gateway: `routes/socket.py` is tested by `tests/gateway/routes/test_socket.py`, or by the test
module that names it in its docstring: as `socket` in the mirrored folder, as `gateway.routes.socket` anywhere.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import gateway

PACKAGE = Path(gateway.__path__[0])
TESTS = Path(__file__).parent
# Declarations without behaviour of their own, and the wiring that every test of tests/stack runs.
WITHOUT_TESTS = {"app", "background", "clients", "lifespan", "runtime/ports", "routes/ports", "routes/state"}


def modules() -> list[str]:
    """As paths without `.py`, such as `store/leases`."""
    files = [file.relative_to(PACKAGE).with_suffix("") for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"]
    return sorted(name for file in files if (name := file.as_posix()) not in WITHOUT_TESTS)


@cache
def names_in_docstrings(folder: Path, pattern: str) -> set[str]:
    docstrings = (ast.get_docstring(ast.parse(file.read_text())) or "" for file in folder.glob(pattern))
    return {name for docstring in docstrings for name in re.findall(r"`([a-z_.]+)`", docstring)}


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_test_module(module: str) -> None:
    folder, name, dotted = (TESTS / module).parent, Path(module).name, f"gateway.{module.replace('/', '.')}"
    is_mirrored = (folder / f"test_{name}.py").exists() or name in names_in_docstrings(folder, "test_*.py")
    assert is_mirrored or dotted in names_in_docstrings(TESTS.parent, "**/test_*.py")
