"""A real OpenID provider in a process of its own, and a browser's log-in there."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2

from dev.ports import free_port

FOLDER: Final = Path(__file__).parent / "openid_provider"
PARLEY: Final = "http://chat.test"


@asynccontextmanager
async def provider() -> AsyncGenerator[str]:
    """Yields the issuer."""
    port, pipe = free_port(), asyncio.subprocess.PIPE
    arguments = [str(FOLDER / "provider.mjs"), str(port), f"{PARLEY}/auth/openid/callback"]
    process = await asyncio.create_subprocess_exec("node", *arguments, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        while (line := await process.stdout.readline()) != b"ready\n":
            assert line, "the provider ended while it started (make setup installs it)"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def log_in_at_provider(authorization_url: str, name: str) -> dict[str, str]:
    """Follows the provider's redirects and forms as `name`; returns the query parameters of the callback."""
    async with httpx2.AsyncClient(timeout=30) as http:
        answer = await http.get(authorization_url)
        while True:
            while answer.is_redirect:
                target = httpx2.URL(answer.url).join(answer.headers["location"])
                if str(target).startswith(PARLEY):
                    return {key: value[0] for key, value in parse_qs(urlsplit(str(target)).query).items()}
                answer = await http.get(target)
            answer.raise_for_status()
            [action] = set(re.findall(r'action="([^"]+)"', answer.text))
            [prompt] = re.findall(r'name="prompt" value="(\w+)"', answer.text)
            form = {"prompt": prompt, "login": name, "password": "x"}
            answer = await http.post(httpx2.URL(answer.url).join(action), data=form)
