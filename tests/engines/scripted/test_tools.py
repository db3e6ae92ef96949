"""The scripted engine's tool calls, reasoning and structured output, over HTTP."""

import json
from typing import Any

import httpx2
import pytest

from engines.scripted.server import listening
from engines.scripted.settings import EngineSettings
from tests.contract.engine_shapes import PICK, WEATHER, events_in
from tests.engines.scripted.conftest import CHAT, chat_request, text_in

NAMED = {"type": "function", "function": {"name": "pick"}}
PARIS = '[[call=get_weather args={"city": "Paris, 巴黎"}]]'


async def answered(client: httpx2.AsyncClient, content: str, **fields: object) -> dict[str, Any]:
    body = chat_request(content, **fields)
    return dict((await client.post(CHAT, json=body)).raise_for_status().json()["choices"][0])


async def streamed(client: httpx2.AsyncClient, content: str, **fields: object) -> list[Any]:
    body = chat_request(content, stream=True, **fields)
    return events_in((await client.post(CHAT, json=body)).raise_for_status().text)


def functions(message: dict[str, Any]) -> list[dict[str, str]]:
    return [call["function"] for call in message["tool_calls"]]


def pieces_in(events: list[Any]) -> list[dict[str, Any]]:
    deltas = [choice["delta"] for event in events if event != "[DONE]" for choice in event["choices"]]
    return [piece for delta in deltas for piece in delta.get("tool_calls", ())]


def reason_of(events: list[Any]) -> str:
    return str(events[-2]["choices"][0]["finish_reason"])


async def test_a_call_is_returned_whole(client: httpx2.AsyncClient) -> None:
    choice = await answered(client, PARIS, tools=[WEATHER])
    assert functions(choice["message"]) == [{"name": "get_weather", "arguments": '{"city": "Paris, 巴黎"}'}]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")


async def test_a_streamed_call_has_its_name_first_and_its_arguments_in_pieces(client: httpx2.AsyncClient) -> None:
    events = await streamed(client, PARIS, tools=[WEATHER])
    first, *others = pieces_in(events)
    assert first["id"].startswith("chatcmpl-tool-")
    assert (first["type"], first["index"], first["function"]) == ("function", 0, {"name": "get_weather"})
    assert "".join(piece["function"]["arguments"] for piece in others) == '{"city": "Paris, 巴黎"}'
    assert len(others) > 5
    assert all(piece.keys() == {"index", "function"} for piece in others)
    assert (text_in(events), reason_of(events)) == ("", "tool_calls")


async def test_several_calls_are_numbered_and_may_follow_a_text(client: httpx2.AsyncClient) -> None:
    content = (
        '[[call=get_weather args={"city": "Rome"} call=pick args={"unit": "celsius", "n": [1, {"a": "}"}]} text=So:]]'
    )
    choice = await answered(client, content, tools=[WEATHER, PICK])
    assert [function["name"] for function in functions(choice["message"])] == ["get_weather", "pick"]
    assert choice["message"]["content"] == "So:\n"
    events = await streamed(client, content, tools=[WEATHER, PICK])
    assert text_in(events) == "So:\n"
    assert [piece["index"] for piece in pieces_in(events) if "id" in piece] == [0, 1]
    arguments = [piece["function"].get("arguments", "") for piece in pieces_in(events) if piece["index"] == 1]
    assert "".join(arguments) == functions(choice["message"])[1]["arguments"]


async def test_without_parallel_calls_only_the_first_is_returned(client: httpx2.AsyncClient) -> None:
    content = "[[call=get_weather call=pick]]"
    fields: dict[str, Any] = {"tools": [WEATHER, PICK], "parallel_tool_calls": False}
    assert len(functions((await answered(client, content, **fields))["message"])) == 1
    assert {piece["index"] for piece in pieces_in(await streamed(client, content, **fields))} == {0}


async def test_a_call_is_text_if_no_tool_may_be_called(client: httpx2.AsyncClient) -> None:
    for fields in ({}, {"tools": [WEATHER], "tool_choice": "none"}):
        choice = await answered(client, PARIS, **fields)
        assert choice["message"]["content"].startswith("<tool_call>\n")
        assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("stop", False)


async def test_a_call_without_arguments_gets_the_minimal_instance_of_its_schema(client: httpx2.AsyncClient) -> None:
    choice = await answered(client, "[[call=pick]]", tools=[PICK])
    assert json.loads(functions(choice["message"])[0]["arguments"]) == {"unit": "celsius"}


@pytest.mark.parametrize(("choice", "reason"), [("required", "tool_calls"), (NAMED, "stop")])
async def test_a_forced_call_is_made_whatever_the_message_says(
    client: httpx2.AsyncClient, choice: object, reason: str
) -> None:
    fields: dict[str, Any] = {"tools": [PICK, WEATHER], "tool_choice": choice}
    whole = await answered(client, "hello", **fields)
    assert functions(whole["message"]) == [{"name": "pick", "arguments": '{"unit": "celsius"}'}]
    assert (whole["message"]["content"], whole["finish_reason"]) == ("", reason)
    assert reason_of(await streamed(client, "hello", **fields)) == reason


async def test_a_script_chooses_among_the_allowed_calls(client: httpx2.AsyncClient) -> None:
    required = await answered(client, PARIS, tools=[PICK, WEATHER], tool_choice="required")
    assert [function["name"] for function in functions(required["message"])] == ["get_weather"]
    named = await answered(client, PARIS, tools=[PICK, WEATHER], tool_choice=NAMED)
    assert [function["name"] for function in functions(named["message"])] == ["pick"]


async def test_a_tools_answer_is_answered_in_turn(client: httpx2.AsyncClient) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": PARIS},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
    ]
    body = {"messages": turns, "tools": [WEATHER]}
    choice = (await client.post(CHAT, json=body)).json()["choices"][0]
    assert choice["message"]["content"].startswith("The tool said: 21 degrees\n(message 3 ")
    turns[-1]["content"] = "[[call=pick]]"
    choice = (await client.post(CHAT, json=body)).json()["choices"][0]
    assert [function["name"] for function in functions(choice["message"])] == ["pick"]


async def test_tools_and_their_answers_are_counted_as_in_the_usage(client: httpx2.AsyncClient) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
    turns = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "晴"}]},
    ]
    counts = []
    for tools in ([WEATHER], None):
        counted = (await client.post("/tokenize", json={"messages": turns, "tools": tools})).json()["count"]
        answer = (await client.post(CHAT, json={"messages": turns, "tools": tools})).json()
        assert answer["usage"]["prompt_tokens"] == counted
        counts.append(counted)
    assert counts[0] > counts[1]


@pytest.mark.parametrize("choice", ["auto", "required"])
async def test_a_call_is_continued_by_its_ids(client: httpx2.AsyncClient, choice: str) -> None:
    content = "[[call=pick]]" if choice == "auto" else "hello"
    body = chat_request(content, tools=[PICK], tool_choice=choice, return_token_ids=True)
    whole = (await client.post(CHAT, json=body)).json()
    prompt, ids = whole["prompt_token_ids"], whole["choices"][0]["token_ids"]
    for place in range(1, len(ids), 7):
        rest = await client.post(
            "/v1/completions", json={"prompt": prompt + ids[:place], "return_token_ids": True, "max_tokens": 500}
        )
        assert rest.json()["choices"][0]["token_ids"] == ids[place:]


async def test_every_token_of_a_call_can_be_returned(client: httpx2.AsyncClient) -> None:
    events = await streamed(client, PARIS, tools=[WEATHER], return_token_ids=True)
    choices = [event["choices"][0] for event in events[1:-1]]
    whole = await answered(client, PARIS, tools=[WEATHER], return_token_ids=True)
    assert [token for choice in choices for token in choice["token_ids"]] == whole["token_ids"]
    assert choices[0]["delta"] == {}


async def test_reasoning_comes_before_the_content(client: httpx2.AsyncClient) -> None:
    content = "[[reasoning=Let me think, 想一想. text=Hello]]"
    choice = await answered(client, content)
    assert choice["message"]["reasoning"] == "\nLet me think, 想一想.\n"
    assert choice["message"]["content"] == "\n\nHello"
    deltas = [event["choices"][0]["delta"] for event in (await streamed(client, content))[1:-1]]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == choice["message"]["reasoning"]
    assert "".join(delta.get("content", "") for delta in deltas) == choice["message"]["content"]
    kinds = ["reasoning" in delta for delta in deltas]
    assert kinds == sorted(kinds, reverse=True)


async def test_reasoning_may_lead_to_a_call_and_is_counted(client: httpx2.AsyncClient) -> None:
    body = chat_request('[[call=get_weather args={"city": "Rome"} reasoning=Which city?]]', tools=[WEATHER])
    answer = (await client.post(CHAT, json=body)).json()
    message = answer["choices"][0]["message"]
    assert (message["reasoning"], message["content"]) == ("\nWhich city?\n", None)
    assert functions(message) == [{"name": "get_weather", "arguments": '{"city": "Rome"}'}]
    assert 0 < answer["usage"]["completion_tokens_details"]["reasoning_tokens"] < answer["usage"]["completion_tokens"]


async def test_an_answer_that_only_thinks_has_no_content(client: httpx2.AsyncClient) -> None:
    choice = await answered(client, "[[reasoning=Let me think about it]]", max_tokens=12)
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "length")


async def test_a_schema_is_answered_by_its_minimal_instance_or_by_the_scripted_text(client: httpx2.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert (await answered(client, "hello", response_format=form))["message"]["content"] == '{"n": 3}'
    choice = await answered(client, '[[text={"n": 9}]]', response_format=form)
    assert choice["message"]["content"] == '{"n": 9}'


async def test_a_schema_without_a_grammar_is_an_error_event_in_a_stream(client: httpx2.AsyncClient) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    whole = await client.post(CHAT, json=chat_request("hello", response_format=form))
    events = await streamed(client, "hello", response_format=form)
    assert whole.status_code == 400
    assert events == [whole.json(), "[DONE]"]


async def test_tools_are_refused_by_a_server_without_a_parser() -> None:
    settings = EngineSettings(port=0, pace_seconds=0, first_seconds=0, tool_call_parser="")
    async with listening(settings) as url, httpx2.AsyncClient(base_url=url) as client:
        for choice in ("auto", "required", NAMED):
            refused = await client.post(CHAT, json=chat_request("hello", tools=[PICK], tool_choice=choice))
            assert refused.status_code == 400
            assert "--tool-call-parser" in refused.json()["error"]["message"]
        assert "tool_calls" not in (await answered(client, "hello", tools=[PICK], tool_choice="none"))["message"]
        deltas = [event["choices"][0]["delta"] for event in (await streamed(client, "[[text=好]]"))[1:-1]]
        assert deltas[0] == {"content": ""}


async def test_a_title_is_given_whatever_directives_the_conversation_contains(client: httpx2.AsyncClient) -> None:
    system = {"role": "system", "content": "Answer with a title of at most six words."}
    exchange = {"role": "user", "content": f"The weather {PARIS} in Paris\n\nIt is fine."}
    answer = (await client.post(CHAT, json={"messages": [system, exchange]})).json()
    assert answer["choices"][0]["message"]["content"] == "About The weather in Paris"
