"""The accounts' API conforms to its OpenAPI document: schemathesis sends valid and invalid requests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from dev.stack import Plan, Stack
from tests.stack.accounts import create_accounts
from tests.stack.conftest import PASSWORD, Deployment

CONFIGURATION = Path(__file__).with_name("schemathesis-auth.toml")
# Routes by credential. Some routes without a credential start or end a session, so they are called without one.
BY_NOTHING = "^/auth/(options|register|login|logout|reset|openid/.*)$"
BY_KEY = "^/auth/(admin/.*|tickets)$"
BY_SESSION = "^/auth/(me|password|sessions.*|keys.*)$"


@pytest.fixture(scope="module")
def open_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of its own, because the test uses up the rate limit of log-ins."""
    plan = Plan(tmp_path_factory.mktemp("open"), gateways=1, auth={"AUTH_REGISTRATION": "open"})
    with Stack(plan) as stack:
        create_accounts(stack, {"root": PASSWORD, "alice": PASSWORD, "bob": PASSWORD})
        yield Deployment(stack, "", "")


@pytest.fixture(scope="module")
def known(open_deployment: Deployment) -> dict[str, str]:
    """Values that only an existing client can send."""
    open_deployment.log_in("root", PASSWORD)
    cookie = open_deployment.log_in("root", PASSWORD)
    with httpx2.Client(base_url=open_deployment.stack.url, headers={"Cookie": cookie}) as http:
        keys = [http.post("/auth/keys", json={"name": "root's", "scope": "admin"}).json() for _ in range(2)]
        sessions = http.get("/auth/sessions").json()["data"]
        users = [one["id"] for one in http.get("/auth/admin/users").json()["data"]]
    return {
        "SESSION": cookie.partition("=")[2],
        "OTHER_SESSION_ID": next(one["id"] for one in sessions if not one["current"]),
        "KEY": keys[0]["key"],
        "OTHER_KEY_ID": keys[1]["id"],
        "USER_ID": users[0],
        "OTHER_USER_ID": users[1],
    }


def test_the_document_needs_no_credential_and_has_every_route_of_the_accounts(open_deployment: Deployment) -> None:
    document = httpx2.get(f"{open_deployment.stack.url}/auth/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert {("post", "/auth/login"), ("delete", "/auth/me"), ("patch", "/auth/admin/users/{id}")} < operations
    assert not [path for path in document["paths"] if not path.startswith("/auth/")]


@pytest.mark.parametrize(
    ("paths", "operations"), [(BY_NOTHING, 7), (BY_KEY, 13), (BY_SESSION, 9)], ids=["nothing", "key", "session"]
)
def test_every_answer_conforms_to_the_document(
    open_deployment: Deployment, known: dict[str, str], tmp_path: Path, paths: str, operations: int
) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run"]
    options = ["--no-color", "--continue-on-failure", "--warnings", "off", "--include-path-regex", paths]
    url, environment = f"{open_deployment.stack.url}/auth/openapi.json", os.environ | known
    done = subprocess.run(
        [*command, *options, url], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"Tested: {operations}" in done.stdout


def test_the_credentials_stayed_valid_and_there_was_no_server_error(
    open_deployment: Deployment, known: dict[str, str]
) -> None:
    by_session, by_key = {"Cookie": f"parley_session={known['SESSION']}"}, {"Authorization": f"Bearer {known['KEY']}"}
    for path, headers in [("/auth/me", by_session), ("/auth/admin/users", by_key)]:
        assert httpx2.get(open_deployment.stack.url + path, headers=headers).status_code == 200
    assert "Traceback" not in open_deployment.stack.processes["auth-service"].log.read_text()
