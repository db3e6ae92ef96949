"""Every image is pinned, and no version has a known vulnerability."""

import re
from typing import Any

import pytest

from tests.compose.project import ROOT

pytestmark = pytest.mark.compose

FLOORS = {"nginxinc/nginx-unprivileged": (1, 30, 2), "redis": (8, 6, 3), "vllm/vllm-openai": (0, 30, 0)}
FLOORS["vllm/vllm-openai-cpu"] = FLOORS["vllm/vllm-openai"]
STARLETTE_FLOOR = (1, 0, 1)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def base_images() -> list[str]:
    return [
        line.split()[1]
        for path in ROOT.glob("*/Dockerfile")
        for line in path.read_text().splitlines()
        if line.startswith("FROM")
    ]


def test_images_are_pinned_to_versions_with_the_known_fixes(services: dict[str, dict[str, Any]]) -> None:
    pulled = [one["image"] for one in services.values() if "build" not in one]
    for image in [*pulled, *base_images()]:
        name, _, tag = image.partition(":")
        assert re.match(r"v?\d+", tag), image
        assert "@" not in image
        assert version(tag) >= FLOORS.get(name, ()), image


@pytest.mark.parametrize("service", ["gateway", "auth-service"])
def test_locked_starlette_has_the_known_fixes(service: str) -> None:
    locked = re.search(r"^starlette==([\d.]+)", (ROOT / service / "requirements.txt").read_text(), re.MULTILINE)
    assert locked
    assert version(locked[1]) >= STARLETTE_FLOOR
