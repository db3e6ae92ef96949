"""What a gateway asks of Redis, one line for each round trip, as it passes on the wire."""

import asyncio
import re

from tests.chaos.proxy import Proxy

# A command's name and its first argument, in RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/
_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)(?:\r\n\$\d+\r\n([^\r]*))?\r\n")
# The lease, its sweep, and the reader that waits for what others say: they come and go beside every question.
_BESIDE = re.compile(rb"parley:gateways|:alive|XREAD", re.IGNORECASE)
_QUIET_SECONDS = 0.5


class RoundTrips:
    """From now on, until `end`."""

    def __init__(self, proxy: Proxy) -> None:
        self._cable = proxy
        self._requests: list[bytes] = []
        proxy.drop_reply_to(self._heard)

    async def quiet(self) -> None:
        """Waits until nothing has been asked for a while, and forgets what was asked until then."""
        requests = -1
        while requests != len(self._asked):
            requests = len(self._asked)
            await asyncio.sleep(_QUIET_SECONDS)
        self._requests.clear()

    @property
    def _asked(self) -> list[bytes]:
        return [one for one in self._requests if not _BESIDE.search(one)]

    def end(self) -> list[str]:
        self._cable.drop_reply_to(lambda _: False)
        return [_told(one) for one in self._asked]

    def _heard(self, request: bytes) -> bool:
        self._requests.append(request)
        return False


def _told(request: bytes) -> str:
    return ", ".join(name.decode().upper() for name, _ in _COMMAND.findall(request))
