"""Records the requests to an engine, as an observer of the proxy in front of it."""

import json
from collections.abc import Callable
from typing import Any

import httptools


class _Requests:
    """Parses the requests of one connection."""

    def __init__(self, requests: list[tuple[str, Any]]) -> None:
        self._recorded = requests
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._path, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._recorded.append((self._path.decode(), json.loads(self._body or b"null")))


class RequestRecorder:
    """`requests` has the path and the JSON body of each request, in order of arrival."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []

    def observer(self) -> Callable[[bytes], object]:
        feed: Callable[[bytes], object] = _Requests(self.requests).parser.feed_data
        return feed

    def bodies(self, path: str, since: int = 0) -> list[Any]:
        return [body for requested, body in self.requests[since:] if requested == path]
