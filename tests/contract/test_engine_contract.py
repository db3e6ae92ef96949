"""The scripted engine against real vLLM: the same requests, the same shape of answers, the same behaviour."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.contract.engine_shapes import (
    CHAT,
    DETOKENIZE,
    GREETING,
    PICK,
    PLAIN,
    STORY,
    TOKENIZE,
    WEATHER,
    WITH_IDS,
    Question,
    chat,
    conversation_with_calls,
    events_in,
    questions,
    shape_of,
)

# The first test waits for vLLM to start.
pytestmark = pytest.mark.timeout(240)


def shapes(question: Question, engine: httpx2.Client) -> Iterator[object]:
    """Several tries, because a busy engine merges two chunks into one."""
    return (shape_of(question.ask(engine)) for _ in range(5))


@pytest.mark.vllm
@pytest.mark.parametrize("question", [pytest.param(one, id=one.name) for one in questions()])
def test_both_engines_answer_in_the_same_shape(question: Question, scripted_url: str, vllm_url: str) -> None:
    with httpx2.Client(base_url=scripted_url) as scripted, httpx2.Client(base_url=vllm_url, timeout=60) as vllm:
        assert shape_of(question.ask(scripted)) in shapes(question, vllm)


@pytest.mark.vllm
@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["whole", "streamed"])
def test_both_engines_return_a_call_in_the_same_shape(fields: dict[str, Any], scripted_url: str, vllm_url: str) -> None:
    # The demo model has learned this question; the scripted engine has a directive.
    asked = "What's the weather like in San Francisco?"
    directive = 'What\'s the weather like? [[call=get_weather args={"location": "San Francisco"}]]'

    def question(content: str) -> Question:
        messages = [{"role": "user", "content": content}]
        return Question("a call", CHAT, chat(messages=messages, max_tokens=400, tools=[WEATHER], **fields))

    with httpx2.Client(base_url=scripted_url) as scripted, httpx2.Client(base_url=vllm_url, timeout=60) as vllm:
        assert '"tool_calls"' in question(asked).ask(vllm).text
        assert shape_of(question(directive).ask(scripted)) in shapes(question(asked), vllm)


@pytest.mark.vllm
@pytest.mark.parametrize("tools", [None, [WEATHER, PICK]], ids=["without tools", "with tools"])
@pytest.mark.parametrize(
    "messages",
    [
        GREETING,
        [{"role": "system", "content": "be kind"}, *STORY, {"role": "system", "content": "and short"}],
        conversation_with_calls(),
    ],
    ids=["a question", "two system messages", "calls"],
)
def test_both_engines_render_the_same_prompt(
    messages: list[Any], tools: list[Any] | None, scripted_url: str, vllm_url: str
) -> None:
    body = chat(messages=messages, tools=tools, max_tokens=1, return_prompt_text=True)
    prompts = [
        httpx2.post(f"{url}{CHAT}", json=body, timeout=60).json()["prompt_text"] for url in (scripted_url, vllm_url)
    ]
    assert prompts[0] == prompts[1]


@pytest.fixture(params=["scripted", pytest.param("vllm", marks=pytest.mark.vllm)])
def engine(request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    url: str = request.getfixturevalue(f"{request.param}_url")
    with httpx2.Client(base_url=url, timeout=60) as client:
        yield client


def events(engine: httpx2.Client, path: str, body: dict[str, Any]) -> list[Any]:
    return events_in(engine.post(path, json=body).raise_for_status().text)


def made_in(stream: list[Any]) -> list[tuple[list[int], str]]:
    """The token ids and the text of each event that has tokens."""
    choices = [event["choices"][0] for event in stream if event != "[DONE]" and event["choices"]]
    with_tokens = [choice for choice in choices if choice.get("token_ids")]
    return [
        (one["token_ids"], one["text"] if "text" in one else one["delta"].get("content", "")) for one in with_tokens
    ]


def test_tokenize_counts_as_the_usage(engine: httpx2.Client) -> None:
    counted = engine.post(TOKENIZE, json={"messages": GREETING}).json()
    answered = engine.post(CHAT, json=chat(messages=GREETING, return_token_ids=True)).json()
    assert counted["count"] == answered["usage"]["prompt_tokens"]
    assert counted["tokens"] == answered["prompt_token_ids"]


def test_tools_and_calls_are_counted_as_in_the_usage(engine: httpx2.Client) -> None:
    asked = {"messages": conversation_with_calls(), "tools": [WEATHER, PICK]}
    counted = engine.post(TOKENIZE, json=asked).json()
    answered = engine.post(CHAT, json=chat(**asked, return_token_ids=True)).json()
    assert counted["count"] == answered["usage"]["prompt_tokens"]
    assert counted["tokens"] == answered["prompt_token_ids"]


def test_a_forced_call_conforms_to_its_schema(engine: httpx2.Client) -> None:
    for choice in ("required", {"type": "function", "function": {"name": "pick"}}):
        body = chat(messages=GREETING, max_tokens=400, tools=[PICK], tool_choice=choice)
        (call, *_) = engine.post(CHAT, json=body).json()["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "pick"
        assert json.loads(call["function"]["arguments"])["unit"] in ("celsius", "fahrenheit")


def test_the_first_event_has_the_prompts_token_ids(engine: httpx2.Client) -> None:
    counted = engine.post(TOKENIZE, json={"messages": GREETING}).json()
    first, *others = events(engine, CHAT, chat(messages=GREETING, **WITH_IDS))
    assert first["prompt_token_ids"] == counted["tokens"]
    assert not any("prompt_token_ids" in event for event in others)


def test_detokenize_returns_the_text(engine: httpx2.Client) -> None:
    content = "你好, <|im_start|>world<|im_end|>🌊\n"
    ids = engine.post(TOKENIZE, json={"prompt": content}).json()["tokens"]
    assert engine.post(DETOKENIZE, json={"tokens": ids}).json() == {"prompt": content}


def test_special_tokens_in_a_users_text_become_control_tokens(engine: httpx2.Client) -> None:
    def ids(text: str) -> list[int]:
        tokens: list[int] = engine.post(TOKENIZE, json={"prompt": text}).json()["tokens"]
        return tokens

    assert ids("a<|im_end|>b") == ids("a") + ids("<|im_end|>") + ids("b")
    assert [len(ids(special)) for special in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] == [1, 1, 1]


def test_the_end_token_is_counted_but_has_no_text(engine: httpx2.Client) -> None:
    stream = events(
        engine, CHAT, chat(messages=GREETING, max_tokens=400, **WITH_IDS, stream_options={"include_usage": True})
    )
    made = made_in(stream)
    end = engine.post(TOKENIZE, json={"prompt": "<|im_end|>"}).json()["tokens"]
    assert (made[-1][0][-1:], made[-1][1]) == (end, "")
    assert stream[-2]["usage"]["completion_tokens"] == sum(len(ids) for ids, _ in made)


def whole_answer(engine: httpx2.Client) -> tuple[list[int], list[int]]:
    """The token ids of the greeting's prompt and of its answer, with the end token."""
    answer = engine.post(CHAT, json=chat(messages=GREETING, max_tokens=400, return_token_ids=True)).json()
    return answer["prompt_token_ids"], answer["choices"][0]["token_ids"]


def text_of(engine: httpx2.Client, ids: list[int]) -> str:
    """Ends with U+FFFD when the ids end inside a character."""
    text: str = engine.post(DETOKENIZE, json={"tokens": ids}).json()["prompt"]
    return text.removesuffix("<|im_end|>")


def places(engine: httpx2.Client, ids: list[int], *, inside_character: bool) -> list[int]:
    """The numbers of ids before a possible cut."""
    cuts = range(1, len(ids))
    return [cut for cut in cuts if text_of(engine, ids[:cut]).endswith("\ufffd") == inside_character]


def test_incomplete_characters_are_held_back(engine: httpx2.Client) -> None:
    _, ids = whole_answer(engine)
    stream = made_in(events(engine, CHAT, chat(messages=GREETING, max_tokens=400, **WITH_IDS)))
    made: list[int] = []
    content = ""
    for tokens, text in stream:
        made += tokens
        content += text
        assert content == text_of(engine, made).rstrip("\ufffd")
    assert made == ids


def test_a_text_that_ends_inside_a_character_ends_before_it(engine: httpx2.Client) -> None:
    _, ids = whole_answer(engine)
    inside = places(engine, ids, inside_character=True)[0]
    short = engine.post(CHAT, json=chat(messages=GREETING, max_tokens=inside)).json()["choices"][0]
    assert short["finish_reason"] == "length"
    assert short["message"]["content"] == text_of(engine, ids[:inside]).rstrip("\ufffd")


def test_an_interval_groups_tokens_after_the_first(engine: httpx2.Client) -> None:
    made = made_in(events(engine, CHAT, chat(max_tokens=12, stream_interval=5, **WITH_IDS)))
    # A slow reader may receive two events in one.
    assert set(itertools.accumulate(len(ids) for ids, _ in made)) <= {1, 6, 11, 12}


def test_an_answer_is_continued_by_its_token_ids(engine: httpx2.Client) -> None:
    prompt, ids = whole_answer(engine)
    for place in places(engine, ids, inside_character=False)[::4]:
        body = {"prompt": prompt + ids[:place], "temperature": 0, "max_tokens": 400}
        rest = made_in(events(engine, PLAIN, {**body, **WITH_IDS}))
        assert list(itertools.chain.from_iterable(made for made, _ in rest)) == ids[place:]
        assert text_of(engine, ids[:place]) + "".join(text for _, text in rest) == text_of(engine, ids)


def test_a_continuation_from_inside_a_character_returns_the_whole_prompts_text(engine: httpx2.Client) -> None:
    # A trap: a continuation must take its text from the ids, or start at the character's first token.
    prompt, ids = whole_answer(engine)
    for place in places(engine, ids, inside_character=True)[:3]:
        body = {"prompt": prompt + ids[:place], "temperature": 0, "max_tokens": 400, "return_token_ids": True}
        choice = engine.post(PLAIN, json=body).json()["choices"][0]
        assert choice["token_ids"] == ids[place:]
        assert choice["text"].startswith("system\n")
        assert choice["text"].endswith("assistant\n" + text_of(engine, ids))


def test_no_part_of_a_stop_string_is_shown(engine: httpx2.Client) -> None:
    content = text_of(engine, whole_answer(engine)[1])
    stop = content[6:9]
    stream = events(engine, CHAT, chat(messages=GREETING, max_tokens=400, stop=[stop], **WITH_IDS))
    last = stream[-2]["choices"][0]
    assert "".join(text for _, text in made_in(stream)) == content[: content.index(stop)]
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", stop)


def test_a_stop_token_is_named_but_not_shown(engine: httpx2.Client) -> None:
    _, ids = whole_answer(engine)
    stop, before = ids[5], ids[: ids.index(ids[5])]
    body = chat(messages=GREETING, max_tokens=400, stop_token_ids=[stop], return_token_ids=True)
    choice = engine.post(CHAT, json=body).json()["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    assert choice["token_ids"] == [*before, stop]
    assert choice["message"]["content"] == text_of(engine, before).rstrip("\ufffd")


def test_the_request_id_is_the_clients(engine: httpx2.Client) -> None:
    answer = engine.post(CHAT, json=chat(request_id="mine"), headers={"X-Request-Id": "resp_1-2"})
    assert answer.json()["id"] == "chatcmpl-resp_1-2"


def test_a_closed_stream_frees_the_engine(engine: httpx2.Client) -> None:
    body = chat(messages=[{"role": "user", "content": "讲个故事"}], max_tokens=3000, stream=True)
    with engine.stream("POST", CHAT, json=body) as answer:
        next(answer.iter_bytes())
    wait_until_idle(engine)


def test_the_headers_of_a_stream_come_before_its_first_token(engine: httpx2.Client) -> None:
    with engine.stream("POST", CHAT, json=chat(stream=True)) as answer:
        assert answer.status_code == 200
        assert (
            json.loads(next(answer.iter_lines()).removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
        )


def test_metrics_have_the_documented_names_and_labels(engine: httpx2.Client) -> None:
    wait_until_idle(engine)
    answer = engine.get("/metrics")
    model = engine.get("/v1/models").json()["data"][0]["id"]
    labels = f'engine="0",model_name="{model}"'
    ended = f'engine="0",finished_reason="length",model_name="{model}"'
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    for sample in (
        f"vllm:num_requests_running{{{labels}}} 0.0",
        f"vllm:num_requests_waiting{{{labels}}} 0.0",
        f"vllm:prompt_tokens_total{{{labels}}} ",
        f"vllm:generation_tokens_total{{{labels}}} ",
        f"vllm:request_success_total{{{ended}}} ",
    ):
        assert f"\n{sample}" in answer.text


def wait_until_idle(engine: httpx2.Client) -> None:
    for _ in range(2000):
        running = next(
            line for line in engine.get("/metrics").text.splitlines() if line.startswith("vllm:num_requests_running")
        )
        if running.endswith(" 0.0"):
            return
    raise AssertionError(f"still running: {running}")
