"""The documentation is complete, and short where it promises to be."""

import re
from pathlib import Path
from typing import Any

import pytest

from auth_service import errors as auth_errors
from auth_service.routes import admin, introspect, login, openid, own_account, tickets
from auth_service.settings import Settings as AuthSettings
from dev.stack import ROOT
from gateway import errors
from gateway.protocol import events
from gateway.settings import Settings as GatewaySettings

PROTOCOL = (ROOT / "docs/protocol.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
SOURCES = [file.read_text() for file in (ROOT / "gateway/src").rglob("*.py")]


def subclasses(kind: type) -> list[Any]:
    children: list[Any] = kind.__subclasses__()
    return [one for child in children for one in (child, *subclasses(child))]


AUTH_VARIABLES = [f"AUTH_{name.upper()}" for name in AuthSettings.model_fields]


@pytest.mark.parametrize("variables", [GatewaySettings.variables(), AUTH_VARIABLES], ids=["gateway", "auth-service"])
def test_every_setting_is_documented(variables: list[str]) -> None:
    missing = [name for name in variables if f"`{name}`" not in CONFIGURATION]
    assert missing == []


def test_every_documented_setting_exists() -> None:
    known = {*GatewaySettings.variables(), "GATEWAY_SECRETS_DIR", *AUTH_VARIABLES, "AUTH_SECRETS_DIR"}
    assert set(re.findall(r"`((?:GATEWAY|AUTH)_[A-Z_]+)`", CONFIGURATION)) == known


def test_every_variable_of_compose_is_documented() -> None:
    composed = "".join((ROOT / name).read_text() for name in ("compose.yaml", "compose.cpu.yaml"))
    used = set(re.findall(r"\$\{(PARLEY_[A-Z_]+)", composed))
    assert used
    assert [name for name in sorted(used) if f"`{name}`" not in CONFIGURATION] == []
    assert [name for name in sorted(used) if name not in (ROOT / ".env.example").read_text()] == []


def test_every_event_is_documented() -> None:
    names = [one.__struct_config__.tag for one in subclasses(events.Event)]
    assert len(names) == 16
    assert [name for name in names if f"`{name}`" not in PROTOCOL] == []


def test_every_error_code_is_documented() -> None:
    codes = {one.code for one in subclasses(errors.ParleyError)}
    codes |= {code for source in SOURCES for code in re.findall(r'code="([a-z_]+)"', source)}
    assert len(codes) > 12
    assert [code for code in sorted(codes) if f"`{code}`" not in PROTOCOL] == []


def test_every_error_code_of_the_accounts_is_documented() -> None:
    codes = {one.code for one in subclasses(auth_errors.AuthError) if isinstance(one.code, str)}
    for source in (ROOT / "auth-service/src").rglob("*.py"):
        codes |= set(re.findall(r'(?:OpenidRefused|InvalidField)\(\s*"([a-z_]+)"', source.read_text()))
    assert len(codes) > 25
    assert [code for code in sorted(codes) if f"`{code}`" not in PROTOCOL] == []


def test_every_route_of_the_accounts_is_documented() -> None:
    routers = [module.router for module in (login, own_account, tickets, admin, openid, introspect)]
    found = {(method, route.path) for router in routers for route in router.routes for method in route.methods}
    assert len(found) > 25
    written = {
        (method, path.replace("{sub}", "{id}")) for method, path in re.findall(r"`([A-Z]+) (/[\w/{}-]*)", PROTOCOL)
    }
    assert sorted(found - written) == []


def test_every_close_code_is_documented() -> None:
    ours = {code for source in SOURCES for code in re.findall(r"^[A-Z_]+ = (1\d\d\d)$", source, re.MULTILINE)}
    assert ours == {"1000", "1003", "1008", "1011", "1012"}
    for code in ours | {"1002", "1007", "1009"}:  # these three are of uvicorn's protocol
        assert re.search(rf"^\| {code} \|", PROTOCOL, re.MULTILINE)


@pytest.mark.parametrize(("file", "lines"), [("README.md", 100), ("Makefile", 40)])
def test_what_everybody_reads_first_is_short(file: str, lines: int) -> None:
    assert len((ROOT / file).read_text().splitlines()) <= lines


def test_decisions_are_numbered_and_short() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(one.name[:4]) for one in decisions]
    assert numbers == sorted(set(numbers))
    assert all(20 <= len(one.read_text().splitlines()) <= 60 for one in decisions)


@pytest.mark.parametrize("page", [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"], ids=lambda page: page.name)
def test_a_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    tests = [
        f"tests/{name}"
        for name in re.findall(r"`((?:auth_service|gateway|stack|browser|compose|contract)/test_\w+\.py)`", text)
    ]
    missing = [one for one in links if not (page.parent / one).exists()] + [
        one for one in tests if not (ROOT / one).exists()
    ]
    assert missing == []
