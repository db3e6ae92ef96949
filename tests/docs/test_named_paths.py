"""Every file, module, command and decision that the documentation names exists."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dev.stack import ROOT

# Decisions are history: they name modules as they were then.
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md") if (ROOT / name).exists()]
PAGES += sorted((ROOT / "docs").glob("*.md"))

# A path may start at the repository, at a service's package, or below `tests`.
STARTS = [
    ROOT,
    ROOT / "gateway/src",
    ROOT / "auth-service/src",
    ROOT / "auth-service/src/auth_service",
    ROOT / "tests",
]
SUFFIXES = "py|md|conf|yaml|toml|json|svg|png|sh|txt|template"
BARE_FILE = re.compile(rf"[A-Za-z][\w-]*(?:\.[\w-]+)*\.(?:{SUFFIXES})")
PATH = re.compile(r"[a-z][\w.-]*(?:/[\w.-]+)+/?|[a-z][\w-]*/")
MODULE = re.compile(r"\b(?:tests|gateway|auth_service|dev|engines)(?:\.[a-z_]+)+\b(?!\.|-|/)")
NOT_PATHS = {"application/json"}


def code_of(text: str) -> Iterator[str]:
    """Each code span and each line of a fenced block, without its shell comment."""
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            yield from (line.partition(" #")[0] for line in part.splitlines())
        else:
            yield from re.findall(r"`([^`\n]+)`", part)


def file_names() -> frozenset[str]:
    names: set[str] = set()
    for _, folders, files in os.walk(ROOT):
        folders[:] = [one for one in folders if not one.startswith(".") and one != "node_modules"]
        names.update(files)
    return frozenset(names)


FILE_NAMES = file_names()
TARGETS = frozenset(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def is_there(path: str) -> bool:
    return any((start / path).exists() for start in STARTS)


def missing_paths(code: Iterable[str]) -> Iterator[str]:
    for span in code:
        if PATH.fullmatch(span) and span not in NOT_PATHS:
            if not is_there(span):
                yield span
        elif BARE_FILE.fullmatch(span) and span not in FILE_NAMES:
            yield span


def missing_modules(code: Iterable[str]) -> Iterator[str]:
    for span in code:
        for module in MODULE.findall(span):
            path = module.replace(".", "/")
            if BARE_FILE.fullmatch(module) is None and not (is_there(f"{path}.py") or is_there(path)):
                yield module


def missing_targets(code: Iterable[str]) -> Iterator[str]:
    for span in code:
        yield from (one for one in re.findall(r"(?:^|\s)make ([a-z][\w-]*)", span) if one not in TARGETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_the_documentation_exists(page: Path) -> None:
    assert list(missing_paths(code_of(page.read_text()))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_and_make_target_in_the_documentation_exists(page: Path) -> None:
    code = list(code_of(page.read_text()))
    assert [*missing_modules(code), *missing_targets(code)] == []


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs/decisions").glob("*.md"))], ids=lambda page: page.name)
def test_every_link_and_picture_in_the_documentation_exists(page: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (heading and heading not in anchors(file)):
            missing.append(target)
    assert missing == []


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text())
    }
    pictures = [one for kind in ("svg", "png") for one in (ROOT / "docs").glob(f"*.{kind}")]
    assert pictures
    assert [one.name for one in pictures if one.resolve() not in shown] == []


@pytest.mark.parametrize("diagram", sorted((ROOT / "docs").glob("*.svg")), ids=lambda diagram: diagram.name)
def test_a_diagram_is_small_and_needs_nothing_else(diagram: Path) -> None:
    text = diagram.read_text()
    assert len(text.encode()) < 6000
    assert re.findall(r"<script|<image|<foreignObject|@import|@font-face|url\(\s*['\"]?http|href=", text) == []


@pytest.mark.parametrize("diagram", sorted((ROOT / "docs").glob("*.svg")), ids=lambda diagram: diagram.name)
def test_every_module_in_a_diagram_exists(diagram: Path) -> None:
    names = re.findall(r">([a-z_/]+\.py)<", diagram.read_text())
    assert [one for one in names if not (ROOT / "gateway/src/gateway" / one).exists()] == []


def test_every_log_message_in_operations_is_logged() -> None:
    _, _, table = (ROOT / "docs/operations.md").read_text().partition("| in the log |")
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    messages = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell) if " " in span]
    assert len(messages) > 10
    sources = "".join(
        file.read_text() for service in ("gateway/src", "auth-service/src") for file in (ROOT / service).rglob("*.py")
    )
    assert [one for one in messages if one not in sources] == []


def test_no_two_decisions_share_a_number() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [one.name[:4] for one in decisions]
    assert [one for one in sorted(set(numbers)) if numbers.count(one) > 1] == []
    titles = {one.name: one.read_text().partition("\n")[0] for one in decisions}
    assert [name for name, title in titles.items() if not title.startswith(f"# {int(name[:4])}. ")] == []


def test_a_name_that_does_not_exist_is_found() -> None:
    code = list(
        code_of("See `gateway/nowhere.py`, `tests.bench.nothing`, `missing.conf`.\n```\nmake nonsense # make x\n```\n")
    )
    assert list(missing_paths(code)) == ["gateway/nowhere.py", "missing.conf"]
    assert [*missing_modules(code), *missing_targets(code)] == ["tests.bench.nothing", "nonsense"]
