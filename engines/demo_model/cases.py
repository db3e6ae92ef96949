"""Conversations that measure the demo model, each with its only correct answer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from engines.demo_model.corpus import SYSTEM_PROMPT, TITLE_PROMPT, TITLES, fallback, first_exchange
from engines.demo_model.template import to_json
from engines.demo_model.tools import (
    AFTER_RESPONSE,
    KINDS,
    KnownTool,
    Tool,
    known_tool,
    name_of,
    question_about,
    question_about_unknown,
    response_content,
)

Exchange = tuple[str, str]
OF_EACH_KIND = 40


@dataclass(frozen=True)
class Case:
    messages: list[dict[str, Any]]
    # A call is the tool's name and the arguments.
    answer: str
    tools: tuple[Tool, ...] = ()


def after(history: Iterable[Exchange], question: str, answer: str) -> Case:
    turns = [{"role": "system", "content": SYSTEM_PROMPT}]
    for question_before, answer_before in history:
        turns += [{"role": "user", "content": question_before}, {"role": "assistant", "content": answer_before}]
    return Case([*turns, {"role": "user", "content": question}], answer)


def titles() -> list[Case]:
    return [
        Case([_message("system", TITLE_PROMPT), _message("user", first_exchange(question, answer))], title)
        for question, answer, title in TITLES
    ]


def calls(rng: Random) -> Iterator[tuple[str, list[Case]]]:
    for kind in KINDS:
        yield f"questions for a tool ({kind}) -> its call", [_call(kind, rng) for _ in range(OF_EACH_KIND)]
    yield "the same questions without tools", [_without_tools(rng) for _ in range(OF_EACH_KIND)]
    yield "places and sums never learned, to the right fallback", [_unknown_value(rng) for _ in range(OF_EACH_KIND)]


def follow_ups(rng: Random) -> Iterator[tuple[str, list[Case]]]:
    for kind in KINDS:
        yield f"after the tool's answer ({kind})", [_follow_up(kind, rng) for _ in range(OF_EACH_KIND)]


def with_tools(rng: Random, question: str, answer: str) -> Case:
    tools = [known_tool(kind, rng).definition for kind in rng.sample(KINDS, rng.randint(1, 3))]
    return Case(after((), question, answer).messages, answer, tuple(tools))


def _call(kind: str, rng: Random) -> Case:
    tool = known_tool(kind, rng)
    question, arguments = tool.question(rng)
    return Case(
        after((), question, "").messages, f"{name_of(tool.definition)} {to_json(arguments)}", _offered(tool, rng)
    )


def _without_tools(rng: Random) -> Case:
    question, _ = question_about(rng.choice(KINDS), rng)
    return after((), question, fallback(question))


def _unknown_value(rng: Random) -> Case:
    kind = rng.choice(KINDS)
    question = question_about_unknown(kind, rng)
    return Case(after((), question, "").messages, fallback(question), _offered(known_tool(kind, rng), rng))


def _follow_up(kind: str, rng: Random) -> Case:
    tool = known_tool(kind, rng)
    question, arguments = tool.question(rng)
    content = response_content(rng)
    function = {"name": name_of(tool.definition), "arguments": to_json(arguments)}
    called = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    responded = {"role": "tool", "tool_call_id": "call_1", "content": content}
    messages = [*after((), question, "").messages, called, responded]
    return Case(messages, AFTER_RESPONSE, _offered(tool, rng))


def _offered(tool: KnownTool, rng: Random) -> tuple[Tool, ...]:
    others = [known_tool(kind, rng).definition for kind in KINDS if kind != tool.kind]
    offered = [tool.definition, *rng.sample(others, rng.choice([0, 0, 1, 2]))]
    rng.shuffle(offered)
    return tuple(offered)


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}
