"""The scripted engine's faults, as a client sees them."""

import asyncio
import json
from contextlib import suppress

import httpx2
import pytest

from tests.contract.engine_shapes import events_in
from tests.engines.scripted.conftest import CHAT, chat_request, text_in


async def raw_answer(url: str, content: str) -> bytes:
    """All bytes of a streamed answer until the connection closes; a reset raises ConnectionResetError."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(chat_request(content, stream=True)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.encode() + body)
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_cut_in_a_line_leaves_half_an_event(url: str) -> None:
    raw = await raw_answer(url, "[[cut=after:2 text=abcdefgh]]")
    *whole, torn = raw.split(b"data: ")
    assert [b'"ab"' in line or b'"cd"' in line for line in whole[2:]] == [True, True]
    assert not torn.endswith(b"\n\n\r\n")
    assert b"[DONE]" not in raw


async def test_a_cut_in_a_character_leaves_half_a_character(url: str) -> None:
    raw = await raw_answer(url, "[[cut=after:1,inside:char text=abcd好efgh]]")
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        raw.decode()
    assert b'"cd"' in raw


async def test_a_cut_between_events_leaves_whole_events_without_an_ending(url: str) -> None:
    raw = await raw_answer(url, "[[cut=after:1,inside:gap text=abcdefgh]]")
    assert raw.endswith(b"}\n\n\r\n")


async def test_a_cut_may_end_the_body_properly_without_finishing_the_answer(client: httpx2.AsyncClient) -> None:
    answer = await client.post(CHAT, json=chat_request("[[cut=after:2,inside:gap,by:end text=abcdefgh]]", stream=True))
    events = events_in(answer.text)
    assert text_in(events) == "abcd"
    assert events[-1]["choices"][0]["finish_reason"] is None


async def test_a_cut_by_reset_is_a_reset(url: str) -> None:
    with pytest.raises(ConnectionResetError):
        await raw_answer(url, "[[cut=after:2,by:reset text=abcdefgh]]")


async def test_a_cut_answer_that_is_not_streamed_never_arrives(client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await client.post(CHAT, json=chat_request("[[cut=after:2 text=abcdefgh]]"))


async def test_an_error_in_the_middle_is_an_event_before_the_end(client: httpx2.AsyncClient) -> None:
    answer = await client.post(CHAT, json=chat_request("[[error=after:2 text=abcdefgh]]", stream=True))
    *_, error, done = events_in(answer.text)
    assert error == {
        "error": {"message": "Internal server error", "type": "InternalServerError", "param": None, "code": 500}
    }
    assert done == "[DONE]"
    assert (await client.post(CHAT, json=chat_request("[[error=after:2 text=abcdefgh]]"))).status_code == 500


async def test_a_cut_answer_can_be_continued_by_its_ids(client: httpx2.AsyncClient) -> None:
    directive = "[[cut=after:9,inside:gap,by:end text=一座很老的灯塔]]"
    cut = events_in((await client.post(CHAT, json=chat_request(directive, stream=True, return_token_ids=True))).text)
    ids = cut[0]["prompt_token_ids"]
    made = [token for event in cut[1:] for token in event["choices"][0]["token_ids"]]
    body = {"prompt": [*ids, *made[:8]], "max_tokens": 100}
    rest = (await client.post("/v1/completions", json=body)).json()["choices"][0]
    assert (rest["text"], rest["finish_reason"]) == ("的灯塔", "stop")


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_a_script_can_request_a_status(client: httpx2.AsyncClient, status: int) -> None:
    answer = await client.post(CHAT, json=chat_request(f"[[status={status}]]"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)


async def test_a_misspelt_directive_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post(CHAT, json=chat_request("[[pace=0 sead=1]]"))
    assert answer.status_code == 400
    assert "got 'sead=1'" in answer.json()["error"]["message"]
