"""The client of one engine, as this deployment wants it."""

from typing import Literal

import httpx2
import openai
from openai import DefaultAioHttpClient

from gateway.engine.client import EngineClient


def connected(
    url: str,
    *,
    api_key: str,
    dialect: Literal["vllm", "openai"],
    server_key: bytes,
    model: str,
    connections: int,
    read_timeout_seconds: float,
) -> EngineClient:
    timeout = httpx2.Timeout(connect=5.0, read=read_timeout_seconds, write=10.0, pool=5.0)
    http = DefaultAioHttpClient(
        timeout=timeout,
        # Only a server that is somewhere else may be behind a proxy.
        trust_env=dialect == "openai",
        # Without limits of its own this client caps the streams of a whole gateway at 100 or 1,000.
        limits=httpx2.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            # A connection that waited may be half-open, or closed by the server at this moment. To open one in the
            # same network costs 0.1 ms; a handshake of TLS with a server far away is worth keeping.
            keepalive_expiry=0 if dialect == "vllm" else 5,
        ),
    )
    client = openai.AsyncOpenAI(base_url=url, api_key=api_key, max_retries=0, timeout=timeout, http_client=http)
    return EngineClient(client, dialect=dialect, server_key=server_key, model=model)
