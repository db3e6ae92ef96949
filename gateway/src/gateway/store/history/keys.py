"""The names of the keys, and what every reader of them shares."""

import hashlib
import time

from gateway.protocol.ids import is_conversation_id


def index_key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:conversations"


def thread_key(user_id: str, thread_id: str) -> str:
    kind = "conversation" if is_conversation_id(thread_id) else "thread"
    return f"parley:{{{user_id}}}:{kind}:{thread_id}"


def items_key(user_id: str, thread_id: str) -> str:
    return thread_key(user_id, thread_id) + ":items"


def response_key(user_id: str, response_id: str) -> str:
    return f"parley:{{{user_id}}}:response:{response_id}"


def responses_key(user_id: str, thread_id: str) -> str:
    return thread_key(user_id, thread_id) + ":responses"


def log_keys(user_id: str, response_id: str, segment: int = 0) -> tuple[str, ...]:
    """Its events up to those in `segment`."""
    first = response_key(user_id, response_id) + ":log"
    return (first, *(f"{first}:{number}" for number in range(1, segment + 1)))


def accepted_key(user_id: str, client_id: str) -> str:
    """A client's own id for what it asks, which may be anything: its digest."""
    return f"parley:{{{user_id}}}:once:{hashlib.sha256(client_id.encode()).hexdigest()[:32]}"


def active_field(response_id: str) -> str:
    return f"active:{response_id}"


def now_ms() -> int:
    return int(time.time() * 1000)
