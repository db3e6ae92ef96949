"""The parts of the scripted engine's calls: directives, prompts, schemas, parsers. No socket."""

from typing import Any

import pytest

from engines.scripted.deltas import CallPiece, Delta, deltas
from engines.scripted.directives import parse, parse_message
from engines.scripted.errors import BadDirective, BadGrammar
from engines.scripted.schemas import minimal_json
from engines.scripted.script import Script
from engines.scripted.template import Call, Message, parse_prompt, render
from engines.scripted.tokenizer import encode
from tests.contract.engine_shapes import PICK, WEATHER


def test_calls_are_parsed_with_and_without_arguments() -> None:
    line = 'call=a args={"x": [1, "b  c"]} pace=0 call=b call=c args={} reasoning=so text= it = is'
    calls = (Call("a", '{"x": [1, "b  c"]}'), Call("b", ""), Call("c", "{}"))
    assert parse(line) == Script(call=calls, pace=0.0, reasoning="so", text="it = is")


@pytest.mark.parametrize(
    "line", ["call=", "call=a.b", "args={}", "call=a args={", "call=a args={} args={}", "pace=0 args=1"]
)
def test_an_invalid_call_is_refused(line: str) -> None:
    with pytest.raises(BadDirective):
        parse(line)


def test_a_call_in_a_message_overrides_the_posted_content() -> None:
    posted = parse("text=posted")
    assert posted.overridden_by(parse_message("[[call=a]]").script) == Script(call=(Call("a", ""),))


def test_a_prompt_with_tools_can_be_parsed_back() -> None:
    call = Call("get_weather", '{"city": "Rome"}')
    turns = [
        Message("system", "be kind"),
        Message("user", "weather?"),
        Message("assistant", "Let me see.", (call,)),
        Message("tool", "21"),
        Message("tool", "22"),
    ]
    text = render(turns, [WEATHER, PICK])
    conversation = parse_prompt(encode(text + "Fi"))
    assert conversation.tools == (WEATHER, PICK)
    assert conversation.messages[2].content == f"Let me see.\n{call}"
    assert conversation.messages[3:] == (Message("tool", "21\n22"),)
    assert conversation.answer_prefix == tuple(encode("Fi"))


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        (True, "{}"),
        ({}, "{}"),
        ({"type": "object"}, "{}"),
        ({"properties": {"a": {"type": "string"}}, "required": ["a", "b"]}, '{"a": "", "b": {}}'),
        ({"type": "string", "minLength": 2}, '"xx"'),
        ({"type": "integer", "minimum": 3}, "3"),
        ({"type": "number", "exclusiveMaximum": -2}, "-3"),
        ({"type": ["null", "string"]}, "null"),
        ({"enum": ["城", 1]}, '"城"'),
        ({"const": {"a": 1}}, '{"a": 1}'),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "false"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, "[0, 0]"),
        ({"$defs": {"a": {"const": 7}}, "$ref": "#/$defs/a"}, "7"),
    ],
)
def test_the_minimal_instance_of_a_schema(schema: Any, instance: str) -> None:
    assert minimal_json(schema) == instance


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "nonsense"},
        {"enum": []},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"$ref": "#/$ref"},
        {"type": "object", "properties": 5, "required": ["a"]},
        {"type": {}},
    ],
)
def test_a_schema_without_an_instance_is_refused(schema: Any) -> None:
    with pytest.raises(BadGrammar):
        minimal_json(schema)


def joined(texts: tuple[str, ...], *, calls: bool = True) -> Delta:
    first, *others = deltas(texts, calls=calls)
    return sum(others, first)


def test_the_possible_start_of_a_call_is_held_back() -> None:
    parsed = deltas(("a <", "tool", "box>", " <tool_", "call>"), calls=True)
    assert [delta.content for delta in parsed] == ["a ", "", "<toolbox>", " ", ""]


def test_arguments_end_before_the_brace_of_the_call() -> None:
    content = '<tool_call>\n{"name": "f", "arguments": {"a": "}\\"}"}}\n</tool_call>'
    for texts in (tuple(content), (content,), (content[:50], content[50:])):
        assert joined(texts).calls == (CallPiece(0, name="f"), CallPiece(0, arguments='{"a": "}\\"}"}'))


def test_text_after_a_call_is_dropped() -> None:
    content = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call> bye'
    assert joined(tuple(content)).content == ""
    assert joined(tuple(content), calls=False).content == content


def test_reasoning_ends_at_its_closing_tag() -> None:
    for texts in (tuple("<think>a b</think>c"), ("<think>a b</think>c",)):
        assert joined(texts) == Delta(content="c", reasoning="a b")
    assert joined(("a <think>b</think>",)).content == "a <think>b</think>"
