"""The version stands in the file VERSION alone; everything else reads it from there."""

import json
import re
import tomllib
from importlib.metadata import version

import pytest

from dev.stack import ROOT

VERSION = (ROOT / "VERSION").read_text().strip()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PYTHON_PACKAGES = [ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml")]
NODE_PACKAGES = [*ROOT.glob("frontend/package*.json"), *ROOT.glob("tests/**/package*.json")]


def test_the_version_is_a_semantic_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[a-z]+\.\d+)?", VERSION)


@pytest.mark.parametrize("package", ["parley-gateway", "parley-auth-service"])
def test_an_installed_service_has_the_version(package: str) -> None:
    assert version(package) == VERSION, "the installed packages are older than VERSION: run `make setup`"


@pytest.mark.parametrize("document", ["openapi.json", "openapi-auth.json"])
def test_an_openapi_document_has_the_version(document: str) -> None:
    assert json.loads((ROOT / "docs" / document).read_text())["info"]["version"] == VERSION


def test_no_python_package_states_a_version_of_its_own() -> None:
    assert len(PYTHON_PACKAGES) == 3
    projects = [tomllib.loads(file.read_text())["project"] for file in PYTHON_PACKAGES]
    assert [project["dynamic"] for project in projects] == [["version"]] * 3


def test_no_node_package_states_a_version_of_its_own() -> None:
    packages = {file: json.loads(file.read_text()) for file in NODE_PACKAGES if "node_modules" not in file.parts}
    assert len(packages) == 6
    assert [file for file, package in packages.items() if "version" in package] == []


def test_an_image_is_built_with_the_version() -> None:
    assert "!VERSION" in (ROOT / ".dockerignore").read_text().splitlines()
    for service in ("gateway", "auth-service"):
        assert "COPY VERSION /VERSION" in (ROOT / service / "Dockerfile").read_text().splitlines()


def test_the_newest_release_in_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## \[([^]]+)\](?: - (\d{4}-\d\d-\d\d))?$", CHANGELOG, re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    assert releases[1][0] == VERSION
    dates = [date for _, date in releases[1:]]
    assert all(dates)
    assert dates == sorted(dates, reverse=True)


def test_a_release_has_the_changelogs_usual_headings() -> None:
    usual = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= usual
