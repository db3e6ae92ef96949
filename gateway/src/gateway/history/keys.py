"""The names of the keys, and what every reader of them shares."""

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import ExecAbortError, OutOfMemoryError, ReadOnlyError, RedisError

from gateway.errors import StorageFull, Unavailable


def index_key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:conversations"


def thread_key(user_id: str, thread_id: str) -> str:
    kind = "conversation" if is_conversation(thread_id) else "thread"
    return f"parley:{{{user_id}}}:{kind}:{thread_id}"


def items_key(user_id: str, thread_id: str) -> str:
    return thread_key(user_id, thread_id) + ":items"


def response_key(user_id: str, response_id: str) -> str:
    return f"parley:{{{user_id}}}:response:{response_id}"


def responses_key(user_id: str, thread_id: str) -> str:
    return thread_key(user_id, thread_id) + ":responses"


def log_keys(user_id: str, response_id: str) -> tuple[str, ...]:
    """The first segment of its events; others expire soon after its end."""
    return (response_key(user_id, response_id) + ":log",)


def once_key(user_id: str, client_id: str) -> str:
    """A client's own id for what it asks, which may be anything: its digest."""
    return f"parley:{{{user_id}}}:once:{hashlib.sha256(client_id.encode()).hexdigest()[:32]}"


def active_field(response_id: str) -> str:
    return f"active:{response_id}"


def is_conversation(thread_id: str) -> bool:
    return thread_id.startswith("conv_")


def now_ms() -> int:
    return int(time.time() * 1000)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Raises Unavailable for whatever Redis fails with, StorageFull where it only refuses to keep more."""
    try:
        yield
    except (OutOfMemoryError, ReadOnlyError, ExecAbortError) as exc:
        raise StorageFull from exc
    except RedisError as exc:
        raise Unavailable("redis") from exc
