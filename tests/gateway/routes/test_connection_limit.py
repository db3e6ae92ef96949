from contextlib import ExitStack

import pytest

from gateway.errors import TooManyRequests
from gateway.routes.connection_limit import ConnectionLimit


def test_one_more_than_a_user_may_have_is_refused_and_others_are_not() -> None:
    limit = ConnectionLimit(2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(limit.acquire("user_1"))
        with pytest.raises(TooManyRequests) as caught, limit.acquire("user_1"):
            pass
        assert caught.value.headers() == {"Retry-After": "1"}
        held.enter_context(limit.acquire("user_2"))


def test_a_connection_is_free_again_however_its_socket_ended() -> None:
    limit = ConnectionLimit(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limit.acquire("user_1"):
            raise ZeroDivisionError
    with limit.acquire("user_1"), pytest.raises(TooManyRequests), limit.acquire("user_1"):
        pass
    with limit.acquire("user_1"):
        pass
