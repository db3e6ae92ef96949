"""Frames as no WebSocket library would send them: each is answered with its close code, and nothing fails.

Tests `gateway.websocket_protocol`.
"""

import asyncio
import json
import struct
import zlib
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.stack.conftest import PASSWORD, Deployment, receive_all
from tests.stack.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, exchanged, frame, handshake, opened

pytestmark = pytest.mark.usefixtures("no_server_errors")

BOMB = zlib.compress(b" " * 10_000_000, level=9)[2:-4]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"\xed\xa0\x80"), 1007),  # half of a surrogate pair
        (frame(TEXT, "你".encode()[:2]), 1007),
        (frame(TEXT, b"\xe4", last=False) + frame(CONTINUATION, b"x"), 1007),
        (frame(BINARY, b"{}"), 1003),
        (frame(BINARY, b"\0", last=False) + frame(CONTINUATION, b"\1"), 1003),
        (frame(TEXT, b" " * 65537), 1009),
        (frame(TEXT, b" " * 30_000, last=False) + frame(CONTINUATION, b" " * 30_000, last=False) * 3, 1009),
        (b"\x81\xff" + struct.pack("!Q", 2**62), 1009),
        (b"\x81\xff" + b"\xff" * 8, 1009),
        (frame(TEXT, b"{}", reserved=1), 1002),
        (frame(TEXT, b"{}", reserved=4), 1002),
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(3), 1002),
        (frame(11), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"x", last=False) + frame(TEXT, b"y"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", last=False), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, struct.pack("!H", 999)), 1002),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    ],
)
def test_an_invalid_frame_closes_the_socket_with_its_code(deployment: Deployment, data: bytes, code: int) -> None:
    with opened(deployment) as socket:
        socket.send(data)
        assert socket.closing() == code


def test_compression_is_not_offered_so_no_message_can_expand(deployment: Deployment) -> None:
    with opened(deployment, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits") as socket:
        socket.send(frame(TEXT, BOMB, reserved=4))
        assert socket.closing() == 1002


@pytest.mark.parametrize(
    ("first", "flood"),
    [
        (b"", frame(PING)),
        (b"", frame(PING, b"x" * 125)),
        (b"", frame(PONG)),
        (frame(TEXT, last=False), frame(CONTINUATION, last=False)),
    ],
    ids=["empty pings", "pings", "pongs", "fragments"],
)
def test_a_flood_of_frames_without_a_message_is_1008(deployment: Deployment, first: bytes, flood: bytes) -> None:
    with opened(deployment) as socket:
        socket.send(first + flood * 3000)
        assert socket.closing() == 1008


def test_a_fragmented_message_with_interleaved_pings_is_accepted(deployment: Deployment) -> None:
    whole = json.dumps({"type": "response.create", "input": "[[text=你好]]"}, ensure_ascii=False).encode()
    pieces = b"".join(frame(CONTINUATION, bytes([byte]), last=False) + frame(PING, b"?") for byte in whole)
    with opened(deployment) as socket:
        socket.send(frame(TEXT, last=False) + pieces + frame(CONTINUATION))
        assert {socket.receive() for _ in whole} == {(PONG, b"?")}
        assert socket.event()["type"] == "response.created"


def test_frames_before_the_handshake_response_cause_no_error(deployment: Deployment) -> None:
    for early in (
        frame(TEXT, b"{}", masked=False),
        frame(PING) * 3000,
        frame(TEXT, b"\xff"),
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        try:
            answer = exchanged(deployment, handshake(deployment) + early)
        except (ConnectionResetError, TimeoutError, IndexError):
            continue
        assert answer.status in (101, 400, 502), early


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(BINARY, b"hello"), 1003),
        (frame(TEXT, b" " * 65537), 1009),
        (frame(TEXT, b"hello", masked=False), 1002),
        (frame(TEXT, b"hello", reserved=4), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(PING) * 3000, 1008),
    ],
)
@pytest.mark.parametrize("secret", [PASSWORD, "wrong"])
def test_an_invalid_frame_closes_a_plain_text_socket_too(
    deployment: Deployment, data: bytes, code: int, secret: str
) -> None:
    path = f"/ws?{urlencode({'userid': 'alice', 'secret': secret})}"
    with opened(deployment, path=path) as socket:
        socket.send(data)
        assert socket.closing() == code


@pytest.mark.parametrize("number", ["-1", "-0", "1.5", "x", "", "2147483649", "9" * 400, "１", "+1", " 1"])
def test_an_invalid_event_number_is_refused_at_the_handshake(deployment: Deployment, number: str) -> None:
    query = urlencode({"resume": f"resp_{'0' * 32}", "starting_after": number})
    answer = exchanged(deployment, handshake(deployment, path=f"/v1/responses?{query}"))
    assert (answer.status, answer.error["param"]) == (400, "starting_after")


def test_starting_after_without_resume_is_refused_at_the_handshake(deployment: Deployment) -> None:
    answer = exchanged(deployment, handshake(deployment, path="/v1/responses?starting_after=3"))
    assert (answer.status, answer.error["param"]) == (400, "resume")


async def test_a_silent_socket_is_closed(limited_deployment: Deployment) -> None:
    async with limited_deployment.socket(limited_deployment.alice) as socket:
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (1000, "no event has arrived")


async def test_an_idle_socket_beyond_its_maximum_age_gets_an_error_and_is_closed(
    limited_deployment: Deployment,
) -> None:
    async with limited_deployment.socket(limited_deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": "[[text=ok]]"}))
        assert (await receive_all(socket))[-1]["type"] == "response.completed"
        event = json.loads(await socket.recv())
        assert (event["status"], event["error"]["code"]) == (400, "websocket_connection_limit_reached")
        await socket.wait_closed()
        assert socket.close_code == 1000


async def test_a_socket_that_exceeds_its_maximum_age_during_an_answer_reports_no_ending(
    limited_deployment: Deployment,
) -> None:
    create = {"type": "response.create", "input": "[[tokens=3000 pace=0.02]]", "max_output_tokens": 3000}
    async with limited_deployment.socket(limited_deployment.alice) as socket:
        await socket.send(json.dumps(create))
        response_id = json.loads(await socket.recv())["response"]["id"]
        frames: list[str | bytes] = []
        with suppress(ConnectionClosedError):
            while True:
                frames.append(await socket.recv())
        assert json.loads(frames[-1])["error"]["code"] == "websocket_connection_limit_reached"
        assert socket.close_code == 1012
    async with limited_deployment.client(limited_deployment.alice) as client, asyncio.timeout(20):
        assert (await client.responses.retrieve(response_id)).status == "in_progress"
        await client.responses.cancel(response_id)
