"""The second engine in docs/operations.md is the first one on another GPU."""

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.engine.addresses import Addresses
from tests.compose.project import PRODUCTION, ROOT, Project

pytestmark = pytest.mark.compose


@pytest.fixture
def services(compose: None, tmp_path: Path) -> dict[str, Any]:
    (overlay,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/operations.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "compose.engines.yaml").write_text(overlay)
    project = Project((*PRODUCTION, str(tmp_path / "compose.engines.yaml")))
    found: dict[str, Any] = project.configuration()["services"]
    return found


def test_the_second_engine_differs_by_its_gpu_alone(services: dict[str, Any]) -> None:
    first, second = services["vllm"], services["vllm-2"]
    gpus = [one["deploy"]["resources"]["reservations"]["devices"][0].pop("device_ids") for one in (first, second)]
    assert gpus == [["0"], ["1"]]
    assert second == first


def test_the_gateway_is_configured_with_both(services: dict[str, Any]) -> None:
    urls = services["gateway"]["environment"]["GATEWAY_ENGINE_URL"].split(",")
    assert Addresses(urls).known == ["http://vllm:8000/v1", "http://vllm-2:8000/v1"]
    assert services["gateway"]["networks"].keys() >= services["vllm-2"]["networks"].keys()
