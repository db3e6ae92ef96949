"""Requests of a client without an SDK, through nginx."""

import httpx2

from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment

ADDED = {"type": "message", "role": "user", "content": "hello"}


def api(deployment: Deployment, key: str) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(base_url=f"{deployment.stack.url}/v1", headers=headers, timeout=30)


async def got(api: httpx2.AsyncClient, path: str, **query: str | int) -> Wire:
    answer = await api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    body: Wire = answer.json()
    return body


async def posted_to(api: httpx2.AsyncClient, path: str, **body: object) -> Wire:
    answer = await api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    whole: Wire = answer.json()
    return whole
