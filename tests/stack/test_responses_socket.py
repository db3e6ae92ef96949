"""The WebSocket of /v1/responses, frame by frame, through nginx and two gateways.

Tests `gateway.routes.responses_socket` and `gateway.routes.responses_connection`.
"""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.stack.conftest import PASSWORD, Deployment, ask, receive_all, text_of


async def until(condition: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def closing(socket: Any) -> tuple[int, str]:
    await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def handshake(deployment: Deployment, headers: dict[str, str]) -> int:
    try:
        async with connect(f"{deployment.socket_url}/v1/responses", additional_headers=headers):
            return 101
    except InvalidStatus as exc:
        return exc.response.status_code


async def test_a_session_cookie_is_accepted_only_with_the_sites_own_origin(deployment: Deployment) -> None:
    cookie = deployment.log_in("alice", PASSWORD)
    own = f"http://127.0.0.1:{deployment.stack.port}"
    assert await handshake(deployment, {"Cookie": cookie, "Origin": own}) == 101
    for origin in (
        "http://evil.example",
        "null",
        "http://[::1",
        own + ".evil.example",
        own.replace("127.0.0.1", "127.0.0.2"),
    ):
        assert await handshake(deployment, {"Cookie": cookie, "Origin": origin}) == 403
    assert await handshake(deployment, {"Cookie": cookie}) == 403


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer pk_x"}, {"Authorization": "Basic eDp5"}])
async def test_a_handshake_without_a_credential_is_refused(deployment: Deployment, header: dict[str, str]) -> None:
    assert await handshake(deployment, header) == 401


@pytest.mark.parametrize("path", ["/v1/responses", "/ws"])
async def test_a_plain_get_on_a_socket_path_is_refused_with_the_reason(deployment: Deployment, path: str) -> None:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{deployment.stack.url}{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (426, "upgrade_required")
    assert answer.headers["Upgrade"] == "websocket"


async def test_a_socket_answers_its_requests_one_at_a_time_and_in_order(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        for number in range(3):
            create = {"type": "response.create", "input": f"[[text=answer {number}]]", "stream_id": f"s{number}"}
            await socket.send(json.dumps(create))
        for number in range(3):
            events = await receive_all(socket)
            assert text_of(events) == f"answer {number}"
            assert {event["stream_id"] for event in events} == {f"s{number}"}
            assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_only_the_tenth_request_on_a_busy_socket_is_refused(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": "[[tokens=2 first=1]]"}))
        assert json.loads(await socket.recv())["type"] == "response.created"
        for number in range(9):
            await socket.send(json.dumps({"type": "response.create", "input": f"[[text=n{number}]]"}))
        refused: list[str] = []
        texts: list[str] = []
        while len(texts) < 9 or not refused:
            events = await receive_all(socket)
            if events[-1]["type"] == "error":
                refused.append(events[-1]["error"]["code"])
            if events[-1]["type"] == "response.completed":
                texts.append(text_of(events))
    assert refused == ["too_many_requests"]
    assert texts[1:] == [f"n{number}" for number in range(8)]


async def test_bad_json_is_an_error_event_and_three_of_them_close_the_socket(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        for _ in range(2):
            await socket.send("{")
            assert json.loads(await socket.recv())["error"]["code"] == "invalid_json"
        assert text_of(await ask(socket, "[[text=still here]]")) == "still here"
        await socket.send("{")
        assert (await closing(socket))[0] == 1008


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "x", "colour": 1},
        {"input": ""},
        {"input": "x", "model": "nope"},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"input": "x", "previous_response_id": "zz"},
        {"input": "x", "previous_response_id": f"resp_{'0' * 32}"},
        {"type": "response.steer"},
    ],
)
async def test_a_refusal_names_its_stream(deployment: Deployment, fields: dict[str, Any]) -> None:
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "stream_id": "s", **fields}))
        refused = json.loads(await socket.recv())
        assert (refused["type"], refused["stream_id"]) == ("error", "s")


async def test_an_invalid_field_is_named_and_the_socket_stays_open(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        (refused,) = await ask(socket, "x", colour="red")
        assert (refused["status"], refused["error"]["param"]) == (400, "colour")
        assert text_of(await ask(socket, "[[text=fine]]")) == "fine"


@pytest.mark.parametrize(("frame", "code"), [(b"\x00\x01", 1003), ("x" * (64 * 1024 + 1), 1009)])
async def test_a_frame_of_the_wrong_kind_or_size_closes_with_its_code(
    deployment: Deployment, frame: str | bytes, code: int
) -> None:
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(frame)
        assert (await closing(socket))[0] == code


async def test_stopping_frees_the_engine_and_keeps_the_text(deployment: Deployment) -> None:
    mine, question = await deployment.conversation(deployment.alice), "[[tokens=3000 pace=0.01]] to be stopped"
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "conversation": mine, "input": question}))
        response_id = json.loads(await socket.recv())["response"]["id"]
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass
        assert deployment.engine_request(question)["state"] == "running"
        await socket.send(json.dumps({"type": "response.cancel", "response_id": response_id}))
        events = await receive_all(socket)
    assert events[-1]["type"] == "response.incomplete"

    async def let_go() -> bool:
        return bool(deployment.engine_request(question)["state"] != "running")

    await until(let_go)
    assert deployment.engine_request(question)["tokens"] < 3000
    kept = (await deployment.items(deployment.alice, mine))[-1]
    assert kept == ("assistant", events[-1]["response"]["output"][0]["content"][0]["text"], "incomplete")
    assert kept[1] != ""


async def test_a_user_cannot_stop_another_users_answer(deployment: Deployment) -> None:
    async with (
        deployment.socket(deployment.alice, gateway=1) as alice_api,
        deployment.socket(deployment.bob, gateway=1) as bob_api,
    ):
        await alice_api.send(json.dumps({"type": "response.create", "input": "[[tokens=40 pace=0.02]]"}))
        response_id = json.loads(await alice_api.recv())["response"]["id"]
        await bob_api.send(json.dumps({"type": "response.cancel", "response_id": response_id}))
        assert json.loads(await bob_api.recv())["error"]["code"] == "not_found"
        assert (await receive_all(alice_api))[-1]["type"] == "response.completed"


async def test_closing_the_socket_does_not_stop_the_answer(deployment: Deployment) -> None:
    mine = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(
            json.dumps({"type": "response.create", "conversation": mine, "input": "[[tokens=60 pace=0.01]]"})
        )
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass

    async def answered() -> bool:
        return len(await deployment.items(deployment.alice, mine)) == 2

    await until(answered)
    assert (await deployment.items(deployment.alice, mine))[1][2] == "completed"


async def test_an_engine_failure_has_its_code_and_the_question_is_kept(deployment: Deployment) -> None:
    mine = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice) as socket:
        events = await ask(socket, "[[status=500]] why?", conversation=mine)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "model_error"
    assert [role for role, _, _ in await deployment.items(deployment.alice, mine)] == ["user"]


async def test_a_stream_that_the_engine_cuts_inside_a_character_continues_without_loss(
    deployment: Deployment,
) -> None:
    mine = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice) as socket:
        events = await ask(socket, "[[cut=after:9 text=很久以前海边有一座小小的灯塔]]", conversation=mine)
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == "很久以前海边有一座小小的灯塔"
    assert (await deployment.items(deployment.alice, mine))[-1] == ("assistant", text_of(events), "completed")


async def test_two_concurrent_answers_in_one_conversation_stay_with_their_questions(deployment: Deployment) -> None:
    mine, asked = await deployment.conversation(deployment.alice), ("the first [[pace=0.05 tokens=9]]", "the second")
    async with (
        deployment.socket(deployment.alice, gateway=1) as one,
        deployment.socket(deployment.alice, gateway=2) as two,
    ):
        streams = await asyncio.gather(
            *(ask(socket, text, conversation=mine) for socket, text in zip((one, two), asked, strict=True))
        )
    answers = [events[-1]["response"]["output"][0]["id"] for events in streams]
    async with deployment.client(deployment.alice) as client:
        found: list[Any] = [one.to_dict() for one in (await client.conversations.items.list(mine, order="asc")).data]
    assert [item["role"] for item in found] == ["user", "assistant", "user", "assistant"]
    beside = {
        question["content"][0]["text"]: answer["id"] for question, answer in zip(found[::2], found[1::2], strict=True)
    }
    assert beside == dict(zip(asked, answers, strict=True))
