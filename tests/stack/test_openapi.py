"""The HTTP API conforms to its OpenAPI document: schemathesis sends valid and invalid requests."""

import subprocess
import sys
from pathlib import Path

import httpx2

from tests.stack.conftest import Deployment

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_the_document_needs_no_credential_and_names_every_route(deployment: Deployment) -> None:
    document = httpx2.get(f"{deployment.stack.url}/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = {(method, path) for path, operations in document["paths"].items() for method in operations}
    assert {("post", "/v1/responses"), ("post", "/v1/chat/completions"), ("get", "/v1/usage")} < operations
    assert "422" in document["paths"]["/v1/responses"]["post"]["responses"]
    assert not [path for path in document["paths"] if not path.startswith("/v1/")]


def test_every_answer_conforms_to_the_document(limited_deployment: Deployment, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run"]
    url, key = f"{limited_deployment.stack.url}/v1/openapi.json", limited_deployment.alice
    options = ["--no-color", "--continue-on-failure", "--warnings", "off", "-H", f"Authorization: Bearer {key}"]
    done = subprocess.run([*command, *options, url], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Tested: 21" in done.stdout
