"""What an engine was asked, heard on the cable in front of it."""

import json
from collections.abc import Callable
from typing import Any

import httptools


class _Requests:
    """Of one connection, as its bytes go by."""

    def __init__(self, heard: list[tuple[str, Any]]) -> None:
        self._heard = heard
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._path, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._heard.append((self._path.decode(), json.loads(self._body or b"null")))


class Recording:
    """`heard` is the path and the JSON body of each request, in the order in which they came."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def hear(self) -> Callable[[bytes], object]:
        feed: Callable[[bytes], object] = _Requests(self.heard).parser.feed_data
        return feed

    def bodies(self, path: str, since: int = 0) -> list[Any]:
        return [body for asked, body in self.heard[since:] if asked == path]
