"""A gateway's round trips to Redis, observed on the wire: one line each."""

import asyncio
import re

from tests.chaos.proxy import Proxy

# A command's name and its first argument, in RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/
_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)(?:\r\n\$\d+\r\n([^\r]*))?\r\n")
# The lease, its sweep, and the blocking reader run independently of every question.
_BESIDE = re.compile(rb"parley:gateways|:alive|XREAD", re.IGNORECASE)
_QUIET_SECONDS = 0.5


class RoundTrips:
    """Records from now on, until `end`."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._requests: list[bytes] = []
        proxy.drop_reply_to(self._record)

    async def quiet(self) -> None:
        """Waits until there have been no requests for a while, and drops those before."""
        count = -1
        while count != len(self._relevant):
            count = len(self._relevant)
            await asyncio.sleep(_QUIET_SECONDS)
        self._requests.clear()

    @property
    def _relevant(self) -> list[bytes]:
        return [one for one in self._requests if not _BESIDE.search(one)]

    def end(self) -> list[str]:
        self._proxy.drop_reply_to(lambda _: False)
        return [_commands_in(one) for one in self._relevant]

    def _record(self, request: bytes) -> bool:
        self._requests.append(request)
        return False


def _commands_in(request: bytes) -> str:
    return ", ".join(name.decode().upper() for name, _ in _COMMAND.findall(request))
