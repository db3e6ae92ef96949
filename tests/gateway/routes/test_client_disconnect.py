from collections.abc import Iterator

from starlette.types import Message

from gateway.routes.client_disconnect import wait_for_disconnect


async def test_the_rest_of_a_body_is_not_a_disconnect() -> None:
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "more_body": True}, {"type": "http.request"}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    await wait_for_disconnect(receive)
    assert list(messages) == []
