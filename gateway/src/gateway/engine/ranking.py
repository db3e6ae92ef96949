"""Which engine a conversation goes to: the one that likely holds its beginning, unless too much runs there already.

Rendezvous hashing (Thaler and Ravishankar, 1998): every key ranks the engines in its own order. All gateways come to
the same one without asking each other, and an engine that leaves moves only what it had. The loads are bounded as in
"Consistent Hashing with Bounded Loads" (Mirrokni, Thorup and Zadimoghaddam, 2018).
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

_OVER_THE_AVERAGE = 1.25
# So few side by side are as fast as one: reading a prompt again would cost more than sharing them out gains.
_ALWAYS_ROOM = 4


def ranked(key: str, engines: Iterable[str]) -> list[str]:
    return sorted(engines, key=lambda engine: _weight(key, engine), reverse=True)


def order(key: str, running: Mapping[str, int]) -> list[str]:
    """Where to try, given how many answers run on each: by rank, but last those that are too busy for one more."""
    most = bound(list(running.values()))
    return sorted(ranked(key, running), key=lambda engine: running[engine] + 1 > most)


def bound(running: Sequence[int]) -> float:
    """How many answers may run on one engine once another has begun; there is always one that has room."""
    return _OVER_THE_AVERAGE * (sum(running) + 1) / len(running) + _ALWAYS_ROOM


def _weight(key: str, engine: str) -> bytes:
    return blake2b(f"{engine}\0{key}".encode(), digest_size=8).digest()
