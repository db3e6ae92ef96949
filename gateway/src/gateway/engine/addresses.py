"""The addresses of the engines: URLs, or DNS names that stand for any number of engines."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

_DNS_PREFIX = "dns+"


async def resolve_url(url: str) -> list[str]:
    """One URL for each current address of the host. Raises OSError, or UnicodeError for an invalid host name."""
    parts = urlsplit(url)
    port = parts.port or 80
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    hosts = {f"[{host}]" if family == socket.AF_INET6 else str(host) for family, _, _, _, (host, *_) in found}
    return [parts._replace(netloc=f"{host}:{port}").geturl() for host in sorted(hosts)]


class Addresses:
    """`dns+http://vllm:8000/v1` is an engine at every address of `vllm`; any other URL is one engine."""

    def __init__(self, urls: Sequence[str], resolve: Callable[[str], Awaitable[Sequence[str]]] = resolve_url) -> None:
        self._resolve = resolve
        self._resolved: dict[str, Sequence[str]] = {url: [] if url.startswith(_DNS_PREFIX) else [url] for url in urls}
        self._names = [url for url in self._resolved if url.startswith(_DNS_PREFIX)]
        self._unresolved: set[str] = set()
        self.may_be_several = len(self._resolved) > 1 or bool(self._names)

    @property
    def urls(self) -> list[str]:
        return list(dict.fromkeys(url for resolved in self._resolved.values() for url in resolved))

    async def refresh(self) -> None:
        """Looks up the names again. Keeps the previous addresses of a name that cannot be resolved."""
        for name in self._names:
            try:
                self._resolved[name] = await self._resolve(name.removeprefix(_DNS_PREFIX))
            except (OSError, UnicodeError) as exc:
                if name not in self._unresolved:
                    logger.warning("engine name not resolved", extra={"url": name, "reason": str(exc)})
                self._unresolved.add(name)
            else:
                self._unresolved.discard(name)
