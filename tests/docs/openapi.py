"""Writes the OpenAPI documents that the services publish to docs/: `make openapi`. Needs no server and no network."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
from fastapi import FastAPI

from auth_service.app import create_app as create_auth_service
from auth_service.settings import Settings as AuthSettings
from dev.stack import ROOT
from gateway.app import create_app as create_gateway
from gateway.settings import Settings as GatewaySettings

Document = dict[str, Any]

_SECRET = "".join(map(chr, range(ord("A"), ord("Z") + 7)))  # at least 32 different characters


async def gateway() -> Document:
    settings = GatewaySettings.model_validate(
        {
            "auth_url": "http://auth-service",
            "engine_url": "http://vllm/v1",
            "redis_url": "redis://redis",
            "introspection_credential": _SECRET,
            "server_key": _SECRET,
        }
    )
    return await _published(create_gateway(settings), "/v1/openapi.json")


async def auth_service() -> Document:
    settings = AuthSettings.model_validate({"database_url": "sqlite+aiosqlite://", "introspection_credential": _SECRET})
    return await _published(create_auth_service(settings), "/auth/openapi.json")


DOCUMENTS: dict[Path, Callable[[], Awaitable[Document]]] = {
    ROOT / "docs/openapi.json": gateway,
    ROOT / "docs/openapi-auth.json": auth_service,
}


async def _published(app: FastAPI, path: str) -> Document:
    """The lifespan does not run, so that no client is opened."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
        answer = await client.get(path)
    answer.raise_for_status()
    document: Document = answer.json()
    return document


def encode(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    for file, document in DOCUMENTS.items():
        file.write_text(encode(anyio.run(document)))
        print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
