from contextlib import ExitStack

import pytest

from gateway.errors import TooManyRequests
from gateway.runtime.concurrency_limit import ConcurrencyLimit


def test_the_limit_applies_to_each_user_alone_and_the_refusal_names_it() -> None:
    limit = ConcurrencyLimit(2, "sockets are already open; close one")
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(limit.hold("user_1"))
        with pytest.raises(TooManyRequests, match="2 sockets are already open; close one") as caught:
            limit.acquire("user_1")
        assert caught.value.headers() == {"Retry-After": "1"}
        held.enter_context(limit.hold("user_2"))


def test_what_is_held_is_released_however_its_user_leaves() -> None:
    limit = ConcurrencyLimit(1, "sockets are already open")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limit.hold("user_1"):
            raise ZeroDivisionError
    release = limit.acquire("user_1")
    with pytest.raises(TooManyRequests):
        limit.acquire("user_1")
    release()
    with limit.hold("user_1"):
        pass
