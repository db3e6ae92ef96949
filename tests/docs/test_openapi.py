"""The OpenAPI documents in docs/ are those that the services publish, so that each change of the wire is seen."""

import difflib
import json
from pathlib import Path

import anyio
import pytest

from tests.docs.openapi import DOCUMENTS, encode

ADVICE = (
    "{name} is not the document that the service publishes. If the change is intended, run `make openapi`, commit the "
    "file, and explain the difference to users in CHANGELOG.md.\n{difference}"
)


DOCUMENTED = pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)


@DOCUMENTED
def test_a_committed_document_is_the_published_one(file: Path) -> None:
    published, committed = anyio.run(DOCUMENTS[file]), json.loads(file.read_text())
    changes = difference(encode(committed), encode(published))
    assert committed == published, ADVICE.format(name=file.name, difference=changes)


@DOCUMENTED
def test_a_document_is_written_in_one_format(file: Path) -> None:
    assert file.read_text() == encode(json.loads(file.read_text()))


def difference(committed: str, published: str) -> str:
    """Its first 60 lines."""
    lines = difflib.unified_diff(committed.splitlines(), published.splitlines(), "committed", "published", lineterm="")
    return "\n".join(list(lines)[:60])
