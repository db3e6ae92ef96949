"""Where the engines are, as a deployment writes it: URLs, or names behind which there may be any number."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

_NAME = "dns+"


async def resolved(url: str) -> list[str]:
    """The URL of each address that `url` has at the moment. Raises OSError, or UnicodeError for what is no name."""
    parts = urlsplit(url)
    port = parts.port or 80
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    hosts = {f"[{host}]" if family == socket.AF_INET6 else str(host) for family, _, _, _, (host, *_) in found}
    return [parts._replace(netloc=f"{host}:{port}").geturl() for host in sorted(hosts)]


class Addresses:
    """`dns+http://vllm:8000/v1` is an engine at every address of `vllm`; any other URL is one engine."""

    def __init__(self, urls: Sequence[str], resolve: Callable[[str], Awaitable[Sequence[str]]] = resolved) -> None:
        self._resolve = resolve
        self._found: dict[str, Sequence[str]] = {url: [] if url.startswith(_NAME) else [url] for url in urls}
        self._names = [url for url in self._found if url.startswith(_NAME)]
        self._unknown: set[str] = set()
        self.may_be_several = len(self._found) > 1 or bool(self._names)

    @property
    def known(self) -> list[str]:
        return list(dict.fromkeys(address for found in self._found.values() for address in found))

    async def look_up(self) -> None:
        for name in self._names:
            try:
                self._found[name] = await self._resolve(name.removeprefix(_NAME))
            except (OSError, UnicodeError) as exc:  # what was found before may serve all the same
                if name not in self._unknown:
                    logger.warning("a name of engines has no address", extra={"url": name, "reason": str(exc)})
                self._unknown.add(name)
            else:
                self._unknown.discard(name)
