"""Which engine a conversation goes to: the one that likely has its prefix cached, unless that one is overloaded.

Rendezvous hashing (Thaler and Ravishankar, 1998): every key ranks the engines in its own order. All gateways compute
the same order without coordination, and removing an engine moves only its own keys. The loads are bounded as in
"Consistent Hashing with Bounded Loads" (Mirrokni, Thorup and Zadimoghaddam, 2018).
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

_MAX_OVER_AVERAGE = 1.25
# An engine runs this many streams as fast as one: moving them would cost more, in prompts read again, than it gains.
_MIN_CAPACITY = 4


def rank(key: str, engines: Iterable[str]) -> list[str]:
    """Best first, without regard to load."""
    return sorted(engines, key=lambda engine: _weight(key, engine), reverse=True)


def order_by_preference(key: str, running: Mapping[str, int]) -> list[str]:
    """By rank, with the engines that are too busy for one more stream last; `running`: streams on each engine."""
    limit = max_load(list(running.values()))
    return sorted(rank(key, running), key=lambda engine: running[engine] + 1 > limit)


def max_load(running: Sequence[int]) -> float:
    """The number of streams that one engine may run once the next has started; at least one engine has room."""
    return _MAX_OVER_AVERAGE * (sum(running) + 1) / len(running) + _MIN_CAPACITY


def _weight(key: str, engine: str) -> bytes:
    return blake2b(f"{engine}\0{key}".encode(), digest_size=8).digest()
