"""Control of a scripted engine from a test: the requests it has received, and its scripted faults."""

import httpx2

from tests.gateway.builders import Wire

# Plain HTTP; loading the CA certificates would take 100 ms for every request.
_client = httpx2.Client(verify=False, limits=httpx2.Limits(max_keepalive_connections=0))


def received(url: str) -> list[Wire]:
    """The engine's records of its requests, oldest first."""
    records: list[Wire] = _client.get(f"{url}/requests").json()["data"]
    return records


def last_received(url: str, path: str = "/v1/chat/completions") -> Wire:
    return [record for record in received(url) if record["path"] == path][-1]


def clear_received(url: str) -> None:
    _client.delete(f"{url}/requests").raise_for_status()


def script(url: str, line: str) -> None:
    _client.post(f"{url}/script", content=line).raise_for_status()


def clear_script(url: str) -> None:
    _client.delete(f"{url}/script").raise_for_status()
