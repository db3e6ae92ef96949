from contextlib import ExitStack

import pytest

from gateway.errors import TooManyRequests
from gateway.routes.connection_limit import ConnectionLimit


def test_the_limit_applies_to_each_user_alone() -> None:
    limit = ConnectionLimit(2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(limit.acquire("user_1"))
        with pytest.raises(TooManyRequests) as caught, limit.acquire("user_1"):
            pass
        assert caught.value.headers() == {"Retry-After": "1"}
        held.enter_context(limit.acquire("user_2"))


def test_a_connection_is_released_however_its_socket_ends() -> None:
    limit = ConnectionLimit(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limit.acquire("user_1"):
            raise ZeroDivisionError
    with limit.acquire("user_1"), pytest.raises(TooManyRequests), limit.acquire("user_1"):
        pass
    with limit.acquire("user_1"):
        pass
